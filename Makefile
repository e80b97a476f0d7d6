# Three commands: `make demo`, `make test` and `make docs`. Each makes its own virtual environment (the last two share
# one), builds the wheel and works with what the wheel installs, never with the sources. `make demo PYTHON=python3.12`
# chooses the interpreter. `make docs` builds the documentation site: open site/index.html.

PYTHON ?= python3
VENV ?= .venv-test
DEMO_VENV ?= .venv-demo
REPORTS ?= reports
PYTEST_ARGS ?=

PIP = -m pip install --quiet --no-input --disable-pip-version-check --constraint constraints.txt
SHIPPED := analyses data models probes top pyproject.toml setup.py
# What the built wheel depends on: the bytes of the sources and the commit they stand on. Stamps carry it in their
# name, so a deleted file or a new commit rebuilds, and a mere `touch` does not.
ID := $(shell { find $(SHIPPED) MANIFEST.in README.md constraints.txt -type f ! -path '*/__pycache__/*' \
	| LC_ALL=C sort | xargs cksum; git rev-parse HEAD; git status --porcelain -- $(SHIPPED); } 2>/dev/null \
	| cksum | cut -d' ' -f1)

.PHONY: demo docs test
.DELETE_ON_ERROR:

demo: $(DEMO_VENV)/installed-$(ID)
	$(DEMO_VENV)/bin/mesascope run lsa-1layer --output-dir $(REPORTS)

test: EXTRAS = [test,dev]
test: $(VENV)/installed-$(ID)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/basedpyright --pythonpath $(VENV)/bin/python
	$(VENV)/bin/python -P -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

docs: EXTRAS = [test,dev]
docs: $(VENV)/docs-$(ID)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -P -m mkdocs build

%/docs-$(ID): %/installed-$(ID)
	@rm -f $*/docs-*
	@wheel=$$(echo $*/dist/*.whl) && $*/bin/python $(PIP) "$$wheel[docs]"
	@touch $@

%/installed-$(ID): %/dist-$(ID)
	@echo "installing into $* (the first time: some minutes, torch is large)"
	@rm -f $*/installed-*
	@$*/bin/python -m pip uninstall --quiet --yes mesascope 2> $*/uninstall.log
	@wheel=$$(echo $*/dist/*.whl) && $*/bin/python $(PIP) "$$wheel$(EXTRAS)"
	@touch $@

# The wheel is built from the source archive, so that files of earlier builds cannot slip in.
%/dist-$(ID): %/bin/python
	@echo "building the wheel in $*/dist"
	@rm -rf $*/dist $*/dist-*
	@$*/bin/python $(PIP) build setuptools
	@$*/bin/python -P -m build --no-isolation --outdir $*/dist . > $*/build.log 2>&1 || { cat $*/build.log; exit 1; }
	@touch $@

%/bin/python:
	@echo "making $*"
	@$(PYTHON) -m venv $*

.PRECIOUS: %/bin/python %/dist-$(ID) %/installed-$(ID) %/docs-$(ID)
