# The workshop. `make help` lists what it can do; a fresh machine needs make, python3 and python3-venv.

SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
ARGS ?=
# Branch coverage that must be reached: overall, and in policy/. 0 turns the check off.
COVERAGE_GATE ?= 1
COVERAGE_MIN := 90
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help run setup test lint fmt bench bench-log compat soak prices lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

run: ## set up what arbstr runs on and start it with mock providers
	@bash scripts/setup.sh run
	@exec .venv/bin/python -m arbstr serve --mock $(ARGS)

setup: ## set up what the checks and tests need
	@bash scripts/setup.sh dev

test: lint ## all checks and tests
	$(PY) -m coverage run -m pytest $(ARGS)
ifeq ($(COVERAGE_GATE),1)
	$(PY) -m coverage report --fail-under=$(COVERAGE_MIN)
	$(PY) -m coverage report --include='src/arbstr/policy/*' --fail-under=100
else
	$(PY) -m coverage report
endif

lint: setup ## the checks alone: style, types, import rules; all of them, also when one fails
	@failed=; \
	check() { echo "$$*"; "$$@" || failed=yes; }; \
	check $(PY) -m ruff check .; \
	check $(PY) -m ruff format --check .; \
	check $(PY) -m mypy; \
	check .venv/bin/lint-imports --no-logo; \
	test -z "$$failed"

fmt: setup ## format the code and fix what ruff can fix
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .

bench: ## measure against nginx and other gateways
	@bash scripts/setup.sh run
	@bash bench/run.sh $(ARGS)

bench-log: ## measure what is asked of a request log of five million rows, and its replay
	@bash scripts/setup.sh run
	@$(PY) -m bench.log $(ARGS)
	@$(PY) -m bench.replay

compat: setup ## run the gateway in front of a provider that was not written here
	@bash tests/compat/run.sh $(ARGS)

soak: setup ## 50,000 requests, and what they leave in memory
	@$(PY) -m tests.soak $(ARGS)

prices: setup ## compile the price catalogue anew, from the data that is locked
	@$(PY) -m arbstr.catalogue.build $(ARGS)

lock: ## renew the locked requirements (ARGS='--upgrade-package NAME' for one)
	@bash scripts/setup.sh lock
	@bash scripts/lock.sh $(ARGS)

clean: ## remove environments, caches and what tests left behind
	rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist htmlcov .coverage .coverage.*
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
