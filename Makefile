# Every target creates the environment it needs in .venv, once; stamp files remember what is installed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= configs/8cube.yaml
WORKERS ?= 2
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Linux without an NVIDIA GPU (/dev/dxg is the one of WSL) takes the CPU build of torch.
ifeq ($(shell uname -s)$(wildcard /dev/nvidia0 /dev/dxg),Linux)
TORCH := -r requirements-cpu.txt
else
TORCH := "torch>=2.11,<3"
endif
# One thread per process: more of them fight over the cores and every step becomes ten times slower.
ONE_THREAD := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help train test test-slow lint format type ext notebook clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

train: $(VENV)/base.stamp  ## train the cube of CONFIG (configs/8cube.yaml) and report on held-out text
	$(BIN)/python scripts/train.py --config $(CONFIG)

test: $(VENV)/dev.stamp  ## run all tests but the slow ones
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/dev.stamp  ## run the slow tests: several processes, browsers, notebooks, the compiler
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -m slow $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp  ## check style and the order of imports between the rooms
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

type: $(VENV)/dev.stamp  ## check types
	$(BIN)/mypy --strict latticegraph

ext: $(VENV)/ext.stamp  ## compile torch-scatter and torch-cluster (about ten minutes, optional)

notebook: $(VENV)/notebooks.stamp  ## open the notebooks
	$(BIN)/jupyter lab notebooks

clean:  ## remove the environment and every cache, keep the runs
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache *.egg-info build
	find latticegraph scripts tests notebooks -type d -name __pycache__ -prune -exec rm -rf {} +

# --no-deps: only torch itself is looked up in PyTorch's own index, everything else in the usual one.
$(VENV)/base.stamp: pyproject.toml requirements-cpu.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'PYTHON: expected Python 3.11 or newer, got $(PYTHON). Run make PYTHON=python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps $(TORCH)
	$(PIP) install --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/base.stamp
	$(PIP) install --editable '.[dev]'
	touch $@

$(VENV)/notebooks.stamp: $(VENV)/base.stamp
	$(PIP) install --editable '.[notebooks]'
	touch $@

# The build must see the installed torch, hence no isolation.
$(VENV)/ext.stamp: $(VENV)/base.stamp
	$(PIP) install ninja "setuptools>=77" wheel
	MAX_JOBS=2 $(PIP) install --no-build-isolation --editable '.[pyg-ext]'
	touch $@
