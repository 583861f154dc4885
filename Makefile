# Each target sets up what it needs: a virtual environment in .venv with every dependency pinned.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The newest versions that pyproject.toml allows, in an environment of their own; torch is what is named here,
# or else what is in .venv: plain `torch` may bring gigabytes of CUDA packages.
LATEST := .venv-latest
TORCH ?= $(shell $(BIN)/python -c "from importlib.metadata import version; print('torch==' + version('torch').split('+')[0])" 2>/dev/null || grep '^torch==' constraints.txt)
# One thread a process: numbers do not depend on the machine's size. Three processes keep two cores busy: tests wait.
THREADS := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Tests start hundreds of processes: Python keeps what it has compiled, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-latest test-browser faults lint format bench clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## Measure the demo model's circuit; tables and two pictures into demo-out
	$(THREADS) $(BIN)/patchgrid demo --out demo-out

test: lint ## Lint, then run all tests but the slow ones and those in a browser
	$(THREADS) $(BIN)/python -m pytest -n 3 --dist worksteal -m "not slow and not browser"

test-latest: ## Run the tests at the newest versions of all packages (torch: TORCH=torch==X, else as in .venv)
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --upgrade pip
	$(LATEST)/bin/python -m pip install --quiet '$(TORCH)'
	$(LATEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test]' '$(TORCH)'
	$(LATEST)/bin/python -m pip list --format freeze
	$(THREADS) $(LATEST)/bin/python -m pytest -n 3 --dist worksteal -m "not slow and not browser"

test-browser: $(READY) ## Use the page in Chromium, with a server and a worker (three minutes)
	$(THREADS) $(BIN)/python -m pytest -m browser tests/browser

faults: $(READY) ## Kill, stop, cut off and poison workers, Redis and PostgreSQL at length (three quarters of an hour)
	$(THREADS) $(BIN)/python -m pytest -m slow --timeout 3600

lint: $(READY) ## Ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## Format and sort imports
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## Run the benchmarks and write docs/benchmarks.md (about 20 minutes on two cores)
	$(BIN)/python benchmarks/report.py

setup: $(READY) ## Make the virtual environment

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $(READY)

clean: ## Remove the virtual environment and what the tools left behind
	rm -rf $(VENV) $(LATEST) .mypy_cache .pytest_cache .ruff_cache demo-out
