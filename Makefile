# Needs GNU make and Python >= 3.10. All is installed into .venv, at the versions pinned in
# tests/constraints.txt, on the first call and again when that file or pyproject.toml changes.
PYTHON ?= python3
PINS := tests/constraints.txt
PY := .venv/bin/python

# The variables, unlike -c, hold in pip's build environment too (newer pips read the second).
INSTALL := PIP_CONSTRAINT=$(PINS) PIP_BUILD_CONSTRAINT=$(PINS) \
	$(PY) -m pip install -q --disable-pip-version-check -e

# Two test processes of one thread each: made for two cores, and tests this small gain nothing
# from more threads.
ONE_THREAD := OMP_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(PY) -m pytest -q

# The oldest versions that pyproject.toml allows have an environment of their own.
MIN := .venv-min
PYTEST_MIN := $(ONE_THREAD) $(MIN)/bin/python -m pytest -q

.PHONY: demo test quick test-min docs tutorials tutorials-check bench format clean

demo: .venv/demo.stamp
	$(PY) -m pyro_hypergeo

test: .venv/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PYTEST) --doctest-modules pyro_hypergeo
	$(PYTEST) -n 2

# For the edit loop, under a minute: one case of every test that is not marked as slow.
quick: .venv/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PYTEST) -n 2 -m quick

# Needs Python 3.10 or 3.11. ARGS go to pytest: make test-min PYTHON=python3.10 ARGS='-m quick'
test-min: $(MIN)/stamp
	$(PYTEST_MIN) --doctest-modules pyro_hypergeo
	$(PYTEST_MIN) -n 2 $(ARGS)

# From scratch each time (-E), as pages that are kept would keep their warnings to themselves.
docs: .venv/docs.stamp
	$(PY) -m sphinx -q -E -W --keep-going -b html -d build/doctrees tutorials build/docs
	@echo build/docs/index.html

# In full, outputs stored: minutes each.
tutorials: .venv/test.stamp
	cd tutorials && $(ONE_THREAD) ../$(PY) -m jupyter execute --inplace *.ipynb

# Reruns in full, in a copy, the notebooks whose text never differs, and compares it with what they
# store, times aside: some ten minutes. ARGS are the starts of names: make tutorials-check ARGS='01 06'
tutorials-check: .venv/test.stamp
	$(ONE_THREAD) $(PY) -m tests.check_tutorials $(ARGS)

# Some 20 minutes; then `python -m tests.benchmarks.tables build/bench.json` fills in the guide.
bench: .venv/test.stamp
	$(ONE_THREAD) $(PY) -m tests.benchmarks --json build/bench.json

format: .venv/test.stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv $(MIN) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml $(PINS) | $(PY)
	$(INSTALL) .
	touch $@

.venv/test.stamp: pyproject.toml $(PINS) | $(PY)
	$(INSTALL) '.[test]'
	touch .venv/demo.stamp $@

.venv/docs.stamp: pyproject.toml $(PINS) | $(PY)
	$(INSTALL) '.[docs]'
	touch .venv/demo.stamp $@

$(MIN)/stamp: pyproject.toml tests/lower_bounds.py
	$(PYTHON) tests/lower_bounds.py
	$(PYTHON) -m venv --clear $(MIN)
	$(PYTHON) tests/lower_bounds.py > $(MIN)/constraints.txt
	PIP_CONSTRAINT=$(MIN)/constraints.txt PIP_BUILD_CONSTRAINT=$(MIN)/constraints.txt \
		$(MIN)/bin/python -m pip install -q --disable-pip-version-check -e '.[test]'
	touch $@
