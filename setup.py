"""Builds the compiled modules; everything else is declared in pyproject.toml.

Environment: FASTCHAT_STRICT=1 turns compiler warnings into errors (our own builds do that; yours need not,
another compiler may know other warnings). FASTCHAT_SANITIZE=address,undefined builds instrumented modules.
"""

import os
import shlex
import shutil
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

STRICT = os.environ.get("FASTCHAT_STRICT", "") not in ("", "0")
SANITIZE = os.environ.get("FASTCHAT_SANITIZE", "")
PYTHON_HEADERS = sysconfig.get_path("include")

COMPILE_FLAGS = ["-O3", "-Wall", "-Wextra", "-Wconversion"]
# Python's own headers are not ours to fix: as system headers they raise no warnings.
COMPILE_FLAGS += ["-isystem", PYTHON_HEADERS]
LINK_FLAGS: list[str] = []
if STRICT:
    COMPILE_FLAGS += ["-Werror"]
if SANITIZE:
    instrument = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    # Python compiles with -fwrapv, under which a signed overflow is no finding; ours all are.
    COMPILE_FLAGS += [*instrument, "-O1", "-g", "-fno-wrapv"]
    LINK_FLAGS += instrument

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "embedsignature": True,
}


class BuildCompiledModules(build_ext):
    """Says what to install where the compiler or Python's headers are missing, instead of a traceback."""

    def run(self) -> None:
        command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        compiler = shlex.split(command)[0]
        if shutil.which(compiler) is None:
            raise SystemExit(
                f"fastchat: no C compiler ({compiler!r} was not found). "
                "Install one, on Debian and Ubuntu with: apt-get install gcc libc6-dev"
            )
        if not Path(PYTHON_HEADERS, "Python.h").exists():
            raise SystemExit(
                f"fastchat: Python's C headers are missing (no Python.h in {PYTHON_HEADERS}). "
                "Install them, on Debian and Ubuntu with: apt-get install python3-dev"
            )
        try:
            super().run()
        except (CompileError, LinkError) as error:
            raise SystemExit(f"fastchat: {error}; the compiler's own message stands above") from None


def compiled_modules() -> list[Extension]:
    """One extension for each .pyx file of the package; the generated C stays out of the source tree."""
    Options.warning_errors = STRICT
    modules = [
        Extension(
            ".".join(source.with_suffix("").parts),
            [str(source)],
            extra_compile_args=COMPILE_FLAGS,
            extra_link_args=LINK_FLAGS,
        )
        for source in sorted(Path("fastchat").rglob("*.pyx"))
    ]
    return cythonize(modules, build_dir="build/cython", compiler_directives=DIRECTIVES)


setup(ext_modules=compiled_modules(), cmdclass={"build_ext": BuildCompiledModules})
