# Two commands on a fresh machine: `make demo`, `make test`. Each makes its own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
DOCS_READY := $(VENV)/.ready-docs
STUDIO := $(VENV)/label-studio
STUDIO_READY := $(STUDIO)/.ready

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick check docs clean help

help:  ## List what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(READY)  ## Compare four strategies on hand-written digits; ends in demo/report.html and demo/curves.png
	$(BIN)/asal demo demo

test: $(DEV_READY) $(STUDIO_READY)  ## Run all tests
	$(PYTEST)

quick: $(DEV_READY)  ## Lint, and run the tests that need no service: a minute, for every change
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST) -q -m "not slow and not postgres and not gpu" tests/unit

check: $(DEV_READY)  ## Lint and check the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_READY)  ## Build the documentation site into site/; a broken link is an error
	$(BIN)/mkdocs build --strict

clean:  ## Remove what these commands made
	rm -rf $(VENV) demo site .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

# torch comes first and alone, exactly pinned: pip then takes a CPU build that is at hand, and nothing later replaces it.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	touch $@

$(READY): $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[web]'
	touch $@

$(DEV_READY): $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/vision \
		$$(grep -E '^(timm|torchvision)==' constraints.txt)  # beside the rest: see docs/how-to/pretrained-features.md
	touch $@ $(READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[web,docs]'
	touch $@

# A Label Studio server for the tests, in an environment of its own: it pins some 150 packages. Its database is made here,
# with nobody in it, as that takes half a minute.
$(STUDIO_READY): constraints-label-studio.txt
	$(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check --requirement constraints-label-studio.txt
	LATEST_VERSION_CHECK=false COLLECT_ANALYTICS=false SENTRY_DSN= FRONTEND_SENTRY_DSN= \
		$(STUDIO)/bin/label-studio user --username nobody --data-dir $(STUDIO)/data >/dev/null 2>&1
	touch $@
