# fastchat: `make help` lists what can be made.

PYTHON ?= python3
# Each interpreter has its own environment, so that `make test PYTHON=python3.12` leaves the usual one alone.
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
ARGS ?=
JOBS ?= 2
# Tests wait for servers a good part of their time.
TEST_JOBS ?= 3

BIN := $(VENV)/bin
COMPILED_SOURCES := $(shell find fastchat -name '*.pyx' -o -name '*.pxd')
# Warnings are errors in our own builds; an installation from a wheel or with pip only shows them.
STRICT := FASTCHAT_STRICT=1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# setuptools warns of every editable installation that a folder may shadow it; here it is meant to.
EDITABLE := $(STRICT) PYTHONWARNINGS=ignore $(PIP) --no-build-isolation --editable

# Commands of the servers that tests start, and the Debian packages that have them.
SERVICES := rabbitmq-server=rabbitmq-server nats-server=nats-server redis-server=redis-server initdb=postgresql setpriv=util-linux

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run build test lint types unit tests crash crash-cluster asan bench peers figures tuning profile load report format clean

help: ## list the targets
	@echo "Usage: make TARGET [PYTHON=python3.12] [ARGS='...']"
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  %-13s %s\n' "$$name" "$$text"; done

run: $(VENV)/.installed $(VENV)/.compiled ## build, install and start the server; ARGS='--http 0.0.0.0:8080'
	@exec $(BIN)/fastchat serve $(ARGS)

build: $(VENV)/.installed $(VENV)/.compiled ## compile and install into the virtual environment

test: $(VENV)/.installed-dev $(VENV)/.compiled ## everything that has to pass: format, lint, types, tests, sanitizers
	@scripts/ensure-packages chromium=chromium valgrind=valgrind $(SERVICES)
	@$(MAKE) --no-print-directory lint types tests asan

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev $(VENV)/.compiled
	$(BIN)/mypy

# Some tests take many thousand times as long as others: whoever is done takes work from the others.
tests: $(VENV)/.installed-dev $(VENV)/.compiled
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal -W error tests $(ARGS)

unit: $(VENV)/.installed-dev $(VENV)/.compiled ## the unit tests alone: no network, a few seconds; ARGS='-k ring'
	$(BIN)/python -m pytest -n $(JOBS) -W error tests/unit $(ARGS)

crash: $(VENV)/.installed-dev $(VENV)/.compiled ## kill the server under load, and check that nothing was lost; ARGS='--kills 50'
	$(BIN)/python -m tests.crash.driver $(ARGS)

crash-cluster: $(VENV)/.installed-dev $(VENV)/.compiled ## break several nodes, their database and broker; ARGS='--faults 100 --broker redis'
	@scripts/ensure-packages $(SERVICES)
	$(BIN)/python -m tests.crash.cluster $(ARGS)

asan: $(VENV)/.installed-dev ## the compiled modules' tests under the address and undefined-behaviour sanitizers
	scripts/run-sanitizers $(BIN)/python $(ARGS)

bench: $(VENV)/.installed-dev $(VENV)/.compiled ## the micro-benchmarks: tables, plots; ARGS='--benchmark-compare'
	@mkdir -p build/benchmarks
	$(BIN)/python -m pytest -p no:xdist -p no:randomly -q benchmarks/micro --benchmark-autosave --benchmark-disable-gc \
	  --benchmark-max-time=0.4 --benchmark-sort=min --benchmark-columns=min,median,iqr,rounds \
	  --benchmark-json=build/benchmarks/micro.json $(ARGS)
	@$(BIN)/python -m benchmarks.micro.summary build/benchmarks/micro.json

figures: $(VENV)/.installed-dev $(VENV)/.compiled ## measure the figures that the README reports
	$(BIN)/python -m benchmarks.figures $(ARGS)

peers: $(VENV)/.installed-peers $(VENV)/.compiled ## measure fastchat beside its peers, those that are installed
	$(BIN)/python -m benchmarks.peers $(ARGS)

tuning: $(VENV)/.installed-dev $(VENV)/.compiled ## measure what each setting trades
	$(BIN)/python -m benchmarks.tuning $(ARGS)

profile: $(VENV)/.installed-dev $(VENV)/.compiled ## profile the server under load, as a flame graph
	$(BIN)/python -m benchmarks.profile $(ARGS)

load: $(VENV)/.installed-dev $(VENV)/.compiled ## load a server with Locust, a short run; ARGS='--help'
	$(BIN)/python -m loadtest $(ARGS)

report: $(VENV)/.installed-dev ## put what was measured last into the documents
	$(BIN)/python -m benchmarks.report $(ARGS)

format: $(VENV)/.installed-dev ## format the code and fix what the linter can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove everything that was built, the environments too
	rm -rf build dist .venv .venv-* *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find fastchat tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +
	find fastchat \( -name '*.so' -o -name '*.c' \) -delete

# Stamps: what they depend on says when the step has to be done again.

$(VENV)/.made:
	@scripts/check-machine $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@touch $@

$(VENV)/.build-tools: $(VENV)/.made pyproject.toml
	@$(PIP) "setuptools>=77" "cython>=3.3"
	@touch $@

$(VENV)/.compiled: $(VENV)/.build-tools setup.py $(COMPILED_SOURCES)
	@echo "Compiling ..."
	@$(STRICT) $(BIN)/python setup.py --quiet build_ext --inplace --parallel $(JOBS)
	@touch $@

$(VENV)/.installed: pyproject.toml setup.py | $(VENV)/.compiled
	@echo "Installing fastchat with what it needs to run ..."
	@$(EDITABLE) .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml setup.py | $(VENV)/.compiled
	@echo "Installing fastchat with what its tests need ..."
	@$(EDITABLE) '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-peers: pyproject.toml setup.py | $(VENV)/.installed-dev
	@echo "Installing the peers that come from Python's package index ..."
	@$(EDITABLE) '.[dev,peers]'
	@touch $@
