# `make demo` goes from a fresh clone to generated videos. `make help` lists all targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Scripts in the environment, such as dvc, start with a path that shells read; with $ or a quote in the checkout's path only
# `python -m dvc` works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Without Python's bytecode cache, Ray workers start three times slower.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PYTHONUNBUFFERED := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export RAY_USAGE_STATS_ENABLED := 0
export DVC_NO_ANALYTICS := 1

.PHONY: help install demo showcase test test-all test-cluster test-gpu same lint format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## create the virtual environment .venv

# Installs again when the requirements have changed. editable_mode=compat puts the checkout's path on sys.path, so that
# digan/ inside a clone that is itself named digan is found from the clone's parent folder, too.
$(STAMP): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else "error: Python " + sys.version.split()[0] + ": 3.11 to 3.13 is required; try make PYTHON=python3.11")'
	@echo "installing into $(VENV) (a minute or two, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -C editable_mode=compat -c constraints.txt -e '.[dev]'
	@test -e .git || $(BIN)/python -m dvc config --local --quiet core.no_scm true
	@touch $@

demo: $(STAMP) ## run all stages, from raw video to a registered generator (8 to 17 minutes on two cores)
	@$(BIN)/python -m dvc repro
	@$(BIN)/python -m pipelines.cli.summary

showcase: $(STAMP) ## the same stages with a longer training (45 minutes on two cores)
	@$(BIN)/python -m pipelines.cli.showcase

# The everyday tests run in two processes (pytest-xdist), a file in one of them; PARALLEL= runs them in one.
PARALLEL ?= -n 2 --dist loadfile

test: $(STAMP) ## run the everyday tests
	@$(BIN)/python -m pytest $(PARALLEL) -m 'not slow and not cluster and not gpu'

test-all: $(STAMP) ## run the everyday and the slow tests
	@$(BIN)/python -m pytest -m 'not cluster and not gpu'

test-cluster: $(STAMP) ## run the tests that need separate hosts
	@$(BIN)/python -m pytest -m cluster

test-gpu: $(STAMP) ## run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

# A change that does not affect computations gives the same digests as the commit BASE.
BASE ?= 2b6f9dc
same: $(STAMP) ## run a small pipeline here and at the commit BASE and compare the digests
	@$(BIN)/python -m tests.same --base $(BASE)

test-oldest: ## run the everyday tests with the oldest supported Ray, MLflow and webdataset
test-newest: ## run the everyday tests with the newest releases that pyproject.toml allows
# Each uses its own virtual environment, .venv-oldest or .venv-newest.
test-oldest test-newest: ENV = $(@:test-%=.venv-%)
test-oldest test-newest: $(STAMP)
	@test -x $(ENV)/bin/python || $(PYTHON) -m venv $(ENV)
	@$(BIN)/python .ci/range_constraints.py $(@:test-%=%) > $(ENV)/constraints.txt
	@$(ENV)/bin/python -m pip install -qq --disable-pip-version-check --upgrade 'pip>=25'
	@$(ENV)/bin/python -m pip install -qq --disable-pip-version-check --upgrade --upgrade-strategy eager -C editable_mode=compat -c $(ENV)/constraints.txt -e '.[dev]'
	@$(ENV)/bin/python -m pip list --format freeze | grep -E '^(ray|mlflow|webdataset)=='
	@PATH="$$PWD/$(ENV)/bin:$$PATH" VIRTUAL_ENV="$$PWD/$(ENV)" $(ENV)/bin/python -m pytest $(PARALLEL) -m 'not slow and not cluster and not gpu' $(TESTS)

lint: $(STAMP) ## run ruff and mypy, check file sizes and imports
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/python -m tests.bounds

format: $(STAMP) ## format the code
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

clean: ## delete outputs and caches; keeps .venv and the MLflow store
	rm -rf outputs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
