# Everything here sets itself up: all that is needed is Python 3.10 or newer (PYTHON=python3.12 picks one) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VERSIONS := 3.10 3.11 3.12 3.13

.PHONY: help demo test test-all lint format bench bench-quick soak docs clean

help:
	@echo "make demo      a small game against a local collector, with an outage in the middle"
	@echo "make test      the whole suite"
	@echo "make test-all  the suite on every Python of: $(VERSIONS)"
	@echo "make lint      ruff and mypy"
	@echo "make bench     the benchmarks, with their peers (a few minutes); bench-quick: without"
	@echo "make soak      two minutes of outages, forks and restarts; every id is accounted for"
	@echo "make docs      the documentation, into site/"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (once, about half a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m examples.demo

test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist worksteal

test-all:
	@for version in $(VERSIONS); do \
		python=; for candidate in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
			"$$candidate" -c '' 2>/dev/null && { python=$$candidate; break; }; \
		done; \
		if [ -z "$$python" ]; then \
			[ -n "$$CI" ] && { echo "Python $$version is missing"; exit 1; }; \
			echo "== Python $$version: not installed, skipped"; continue; \
		fi; \
		echo "== Python $$version"; \
		$(MAKE) --no-print-directory test PYTHON=$$python VENV=.venvs/$$version || exit 1; \
	done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m benchmarks

bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick

soak: $(READY)
	$(BIN)/python -m benchmarks.soak

clean:
	rm -rf $(VENV) .venvs build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
