# Fresh machine: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
#
#   PYTHON       the interpreter to build the environment with (3.11 or newer)
#   TORCH        which torch; its CPU or CUDA build is the installer's choice, not the code's
#   TORCH_INDEX  wheel index for torch alone. Empty: pip's own index. For a CPU-only or a particular CUDA build give the
#                index address that PyTorch's "Get Started" page prints for it: make setup TORCH_INDEX=…
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
# Weights are shared by the demo, the tests and the benches of this checkout.
MODELS ?= $(CURDIR)/var/models

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export HUITING_SPEECH__MODELS_FOLDER = $(MODELS)

.PHONY: help setup models demo test accessibility lint clean

help:
	@echo "make demo    set up, then the nightly run over demo/"
	@echo "make test    set up, then all tests"
	@echo "make setup   virtual environment and dependencies   (TORCH_INDEX=… chooses torch's build)"
	@echo "make models  the weights of the embedded default"
	@echo "make accessibility  axe-core (from npm) over every page, zh and en"
	@echo "make lint    ruff, pyright, import rules, unused dependencies"
	@echo "make clean   remove the environment, data and weights of this checkout"

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Huiting needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments. On Debian: apt install python3-venv"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)' -c constraints.txt
	$(PIP) install --quiet -e '.[speech,app,dev]' -c constraints.txt
	touch $@

models: setup
	@$(BIN)/huiting models pull

demo: setup models
	@$(BIN)/python demo/show.py

test: setup models
	$(BIN)/python -m pytest

# axe-core for the tests alone: nothing of npm is part of the product.
AXE ?= axe-core@4.14.1
accessibility: setup
	npm install --silent --no-audit --no-fund --prefix var/npm '$(AXE)'
	$(BIN)/python -m pytest tests/test_accessibility.py -s

lint: setup
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/deptry .

clean:
	rm -rf $(VENV) var .pytest_cache .ruff_cache
