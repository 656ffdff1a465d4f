"""Builds the compiled modules; everything else is declared in pyproject.toml."""

from glob import glob

from Cython.Build import cythonize
from setuptools import setup

setup(ext_modules=cythonize(sorted(glob("fastchat/*.pyx")), language_level=3))
