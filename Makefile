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
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -q

.PHONY: demo test tutorials bench format clean

demo: .venv/demo.stamp
	$(PY) -m pyro_hypergeo

test: .venv/test.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PYTEST) --doctest-modules pyro_hypergeo
	$(PYTEST) -n 2

# In full, outputs stored: minutes each.
tutorials: .venv/test.stamp
	cd tutorials && OMP_NUM_THREADS=1 ../$(PY) -m jupyter execute --inplace *.ipynb

bench: .venv/test.stamp
	$(PY) -m tests.benchmarks

format: .venv/test.stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf .venv dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	$(PYTHON) -m venv .venv

.venv/demo.stamp: pyproject.toml $(PINS) | $(PY)
	$(INSTALL) .
	touch $@

.venv/test.stamp: pyproject.toml $(PINS) | $(PY)
	$(INSTALL) '.[test]'
	touch .venv/demo.stamp $@
