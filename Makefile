# Both commands work on a fresh machine with Python 3.11 or 3.12, pip and PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-browser install install-test

quickstart: install  ## Train and evaluate CDC on handwritten digits, in minutes on two CPU cores.
	$(BIN)/python tools/quickstart.py

test: install-test  ## Lint and the whole test suite.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest --numprocesses 2 --dist worksteal
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered --fail-under=90

test-browser: install-test  ## The page of a clustered folder in Chromium and Firefox, those of them that are installed.
	$(BIN)/python -m pytest tests/browser

install: $(VENV)/.installed

install-test: $(VENV)/.installed-test

$(VENV)/.installed: requirements.txt constraints.txt pyproject.toml setup.py
	$(PYTHON) -c "import sys; sys.exit(None if sys.version_info[:2] in ((3, 11), (3, 12)) else 'cdc_mm needs Python 3.11 or 3.12; set PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -r requirements.txt -c constraints.txt
	$(BIN)/python -m pip install --no-deps -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-detection.txt tools/install_detectron2.sh
	$(BIN)/python -m pip install -r requirements-test.txt -c constraints.txt
	PYTHON=$(BIN)/python tools/install_detectron2.sh --pypi
	touch $@
