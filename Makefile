# For a machine with Python 3.11 or newer and make; every command is printed as it runs.
# Another interpreter: make test PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
VLLM := .venv-vllm

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-newest test-vllm docs clean

help:
	@echo "make demo    install into $(VENV), then run all stages on synthetic videos and a tiny model"
	@echo "make test    install into $(VENV), then lint, types and tests"
	@echo "make test-newest    the tests with the newest versions of all dependencies, installed into $(NEWEST)"
	@echo "make test-vllm    the real vLLM against the engine; vLLM is installed into $(VLLM), or TRLT_VLLM_PYTHON names its Python"
	@echo "make docs    install into $(VENV), then build the documentation into site/"
	@echo "make clean   remove all environments and caches; runs/ stays"

demo: $(VENV)/.installed
	$(BIN)/trlt demo

# Two test processes of two threads each would wait for one another on two cores.
# What needs the real vLLM is left to `make test-vllm`.
test test-newest: export OMP_NUM_THREADS := 1
test test-newest: export TRLT_VLLM_PYTHON :=
test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --durations 30

# Failures here are early warnings. Versions other than the tested ones are printed first, and are no fault.
test-newest:
	$(MAKE) VENV=$(NEWEST) $(NEWEST)/.made
	$(NEWEST)/bin/python tests/newest.py lift build/newest
	$(NEWEST)/bin/python -m pip install --upgrade --upgrade-strategy eager --editable 'build/newest[dev]'
	$(NEWEST)/bin/python tests/newest.py differ
	$(NEWEST)/bin/python -m pytest -n 2 --deselect tests/test_requirements.py::test_what_is_installed_lies_within_the_bounds

# With TRLT_VLLM_PYTHON nothing is installed. Servers start in the midst of it: one process of tests is enough.
test-vllm: VLLM_PYTHON := $(or $(TRLT_VLLM_PYTHON),$(abspath $(VLLM)/bin/python))
test-vllm: export OMP_NUM_THREADS := 1
test-vllm: $(VENV)/.installed-dev $(if $(TRLT_VLLM_PYTHON),,$(VLLM)/.installed)
	TRLT_VLLM_PYTHON=$(VLLM_PYTHON) $(BIN)/python -m pytest tests/real_vllm --durations 10

docs: $(VENV)/.installed-dev
	$(BIN)/python -m docs.tools.pages
	$(BIN)/python -m sphinx -W --keep-going -b html -d build/doctrees docs site

clean:
	rm -rf $(VENV) $(NEWEST) $(VLLM) site build dist trlt.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The stamps are older than pyproject.toml only when it has changed: then pip looks again.
$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.made
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VLLM)/.installed: tests/real_vllm/install.sh
	bash tests/real_vllm/install.sh $(PYTHON) $(VLLM)
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "trlt needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
