# Everything here sets itself up: all that is needed is Python 3.10 or newer (PYTHON=python3.12 picks one) and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VERSIONS := 3.10 3.11 3.12 3.13

RUNS := 20

# The tests start a thousand processes that import the package: without bytecode each of them compiles it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-again test-all test-once test-lowest lint format bench bench-quick soak docs docs-serve dist dist-check audit clean

help:
	@echo "make demo         a small game, a local collector, an outage in the middle"
	@echo "make test         the whole suite"
	@echo "make test-again   the whole suite $(RUNS) times in a row, each in another order; the first failure ends it"
	@echo "make test-all     the suite on every Python of: $(VERSIONS)"
	@echo "make test-once    the package, its types, the larger examples, the site"
	@echo "make test-lowest  the suite with the oldest dependencies that are allowed"
	@echo "make lint         ruff and mypy"
	@echo "make bench        the benchmarks, with other libraries (a few minutes)"
	@echo "make bench-quick  the same without them, in under a minute"
	@echo "make soak         two minutes of faults and forks; every id is accounted for"
	@echo "make docs         the documentation, into site/"
	@echo "make docs-serve   the documentation on this machine, as you write"
	@echo "make dist         sdist and wheel of the last commit, into dist/"
	@echo "make dist-check   installs both in new environments, on every Python"
	@echo "make audit        known vulnerabilities of the dependencies"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (once, about half a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python -m examples.demo

# Where RETRY is set, as in CI, what failed runs once more, alone: some tests hold the package to seconds, and a machine
# that is shared may not give it any. A bug fails twice, and what passed only alone is in the log, to be looked into.
alone = { echo "== once more, alone: what failed"; $(1) -m pytest $(2) --last-failed --last-failed-no-failures none; }

test: $(READY)
	$(BIN)/python -m pytest -n 4 --dist worksteal $(if $(RETRY),|| $(call alone,$(BIN)/python))

test-again: $(READY)
	@for run in $$(seq 1 $(RUNS)); do \
		echo "== run $$run of $(RUNS)"; \
		$(MAKE) --no-print-directory test RETRY= || exit 1; \
	done

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

# Environments for what `make test` does without, each named after the extra of pyproject.toml that it holds.
.venvs/once/.ready .venvs/docs/.ready .venvs/audit/.ready: .venvs/%/.ready: pyproject.toml
	@echo "setting up .venvs/$* (once, about a minute)"
	@$(PYTHON) -m venv .venvs/$*
	@.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

test-once: .venvs/once/.ready
	.venvs/once/bin/python -m pytest -n 4 --dist loadgroup -m once $(if $(RETRY),|| $(call alone,.venvs/once/bin/python,-m once))

# The first Python of a version that runs, by name or among those of pyenv.
find_python = $(firstword $(foreach candidate,python$(1) $(wildcard $(HOME)/.pyenv/versions/$(1).*/bin/python),\
	$(shell $(candidate) -c 'import sys; print(sys.executable)' 2>/dev/null)))

# Test tools come second and newest: only what a user installs is held at its lower bound.
.venvs/lowest/.ready: pyproject.toml
	@$(or $(call find_python,3.10),$(error Python 3.10 is needed)) -m venv --clear .venvs/lowest
	@.venvs/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	@.venvs/lowest/bin/uv pip install --quiet --python .venvs/lowest --resolution lowest-direct --editable .
	@.venvs/lowest/bin/uv pip install --quiet --python .venvs/lowest --editable '.[test]'
	@touch $@

test-lowest: .venvs/lowest/.ready
	@.venvs/lowest/bin/uv pip list --quiet --python .venvs/lowest | grep -E '^(attrs|orjson|requests|tenacity|urllib3) '
	.venvs/lowest/bin/python -m pytest -n 4 --dist worksteal $(if $(RETRY),|| $(call alone,.venvs/lowest/bin/python))

# The variable is for an announcement of the theme's makers that would pass for a warning.
docs: .venvs/docs/.ready
	NO_MKDOCS_2_WARNING=1 .venvs/docs/bin/mkdocs build --quiet --strict

docs-serve: .venvs/docs/.ready
	.venvs/docs/bin/mkdocs serve --dev-addr 127.0.0.1:8000

# From a commit, not from the folder: what lies about untracked cannot get in. Its date makes a build repeatable.
dist: .venvs/once/.ready
	rm -rf dist build
	mkdir -p build/source
	git archive HEAD | tar -x -C build/source
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) .venvs/once/bin/python -m build --outdir dist build/source
	.venvs/once/bin/python -m twine check --strict dist/*

dist-check: .venvs/once/.ready
	.venvs/once/bin/python -m pytest -n 4 -m once tests/test_distribution.py

# `--strict`: what the registry cannot tell about is a failure, not "no known vulnerabilities".
audit: .venvs/audit/.ready
	.venvs/audit/bin/pip-audit --strict .

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
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
