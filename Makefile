# Two commands: `make demo` runs the whole way on the embedded base, `make test` checks everything.
# Each sets up what it needs: Python 3.11+, make and a C compiler are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One worker a core leaves room for the processes that the end-to-end tests start.
WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint types floors pytest slow clean

demo: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/idiolect demo

test: lint types floors pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

floors: $(READY)
	$(BIN)/lint-imports

pytest: $(READY)
	$(BIN)/pytest -n $(WORKERS) -m "not slow and not gpu and not weights"

slow: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/pytest -m "slow and not gpu and not weights"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "install the package python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[webui,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo
