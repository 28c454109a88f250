# `make` alone lists what there is. Everything is installed into .venv and nothing beside it.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough; choose another by `make PYTHON=... `.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
		&& echo $$python && break; done)

PYTEST_OPTIONS ?= --numprocesses=auto --dist=worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format servers soak attack bench bench-full clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed-demo ## show what it does; needs no server
	@$(BIN)/redis-retention demo

# Without CI=true the tests skip, with the reason, what this machine cannot get of these.
test: lint ## lint, fetch servers, LangGraph.js and a browser, and run all tests
	$(BIN)/python -m tests.servers.fetch || test "$$CI" != true
	$(BIN)/python -m tests.langgraph_js.fetch || test "$$CI" != true
	$(BIN)/python -m tests.page.chromium || test "$$CI" != true
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

lint: $(VENV)/installed-dev ## check style and types, in Python and in Lua
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.lint_lua

format: $(VENV)/installed-dev ## put the Python code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

servers: $(VENV)/installed-dev ## fetch the servers and the browser that the tests run on
	$(BIN)/python -m tests.servers.fetch
	$(BIN)/python -m tests.page.chromium

soak: $(VENV)/installed-dev ## try the safety rules on random threads, for an hour
	$(BIN)/python -m tests.soak

attack: $(VENV)/installed-dev ## attack it in every way that was thought of, for an hour
	$(BIN)/python -m tests.attack

bench: $(VENV)/installed-dev ## measure, in a few minutes, into build/benchmarks
	$(BIN)/python -m benchmarks

bench-full: $(VENV)/installed-dev ## measure everything, for hours, into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks --full

clean: ## remove .venv and everything else that was made here
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What stands after "installed-" are the extras, in pyproject.toml.
$(VENV)/installed-%: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 or newer found; say make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
