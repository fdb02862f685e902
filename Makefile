# make demo: the main job · make up: the same stack, no orders · make quick: for every save · make test: every test · make check: the fast gate
VENV := .venv
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Demo, stack and tests run ten times faster than production would: every limit is multiplied by this.
export TIME_SCALE ?= 0.1
# A stack is a dozen processes and each command is one: what they import is compiled once, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

# Where something may run, or was left by what was killed: the shop's own stack, the database that is prepared for others, and those of bench, prove, storm and simulate.
run_dirs = "$(1)" "$(1)"/prepared/* "$(1)"/bench/shop/plain "$(1)/bench/shop" "$(1)/bench/peers" "$(1)/prove" "$(1)"/storm/commands/* "$(1)"/storm/* "$(1)/simulate"

.PHONY: help demo up stop clean quick test prove storm bench bench-quick check requirements
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

# exec: a signal to make reaches the program itself, and not a shell that would leave it running.
demo: $(VENV)/.runtime ## start everything, place 40 orders, show and check what became of them
	@DEMO_VALUES=1 exec $(PY) manage.py demo

up: $(VENV)/.runtime ## start everything and stay up until Ctrl-C
	@DEMO_VALUES=1 exec $(PY) manage.py up

stop: $(VENV)/.runtime ## stop what `make up`, `demo`, `prove`, `storm` or `simulate` started or left
	@$(PY) manage.py up --stop $(call run_dirs,$(or $(RUN_DIR),.run))

clean: ## stop, then remove data, logs and the virtual environment
	@[ ! -x $(PY) ] || $(PY) manage.py up --stop $(call run_dirs,.run) .run/test/* .run/test/bench-*/*
	rm -rf .run $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

quick: $(VENV)/.test ## for every save: the tests that start no shop, no broker and no provider
	@DEMO_VALUES=1 exec $(PY) -m pytest --quick $(ARGS)

test: $(VENV)/.test ## install what is needed and run every test
	@DEMO_VALUES=1 exec $(PY) -m pytest $(ARGS)

prove: $(VENV)/.runtime ## the crash matrix: kill, freeze and lie to real workers at every boundary, 190 cases, about 4 minutes
	@exec $(PY) manage.py prove $(ARGS)

storm: $(VENV)/.runtime ## chaos scenarios of up to 20,000 orders, each under one kind of harm: about 90 minutes
	@exec $(PY) manage.py storm $(ARGS)

bench: $(VENV)/.test ## how long the API takes, and what an order costs beside Celery alone, DBOS and others: about 40 minutes
	@exec $(PY) -m tests.bench $(ARGS)

bench-quick: $(VENV)/.test ## has the shop become slower beside DBOS and raw Celery? Under 3 minutes
	@exec $(PY) -m tests.bench peers --quick $(ARGS)

check: $(VENV)/.test ## ruff, mypy, import contracts, system checks, missing migrations
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy .
	@$(VENV)/bin/lint-imports
	@$(PY) manage.py check
	@$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run  # it needs no database, and warns that there is none

requirements: $(VENV)/.test ## compile requirements.txt and tests/requirements.txt from pyproject.toml
	$(VENV)/bin/uv pip compile --universal --generate-hashes --no-header -q pyproject.toml -o requirements.txt
	$(VENV)/bin/uv pip compile --universal --generate-hashes --no-header -q --group test -c requirements.txt -o tests/requirements.txt
	$(VENV)/bin/uv pip compile --universal --generate-hashes --no-header -q --group bench -c requirements.txt -o tests/bench/peers/requirements.txt

$(VENV)/bin/python:
	@python3 -c 'import sys; sys.version_info[:2] == (3, 11) or sys.exit("This project is pinned for Python 3.11; python3 is " + sys.version.split()[0])'
	@echo "making the virtual environment"
	@python3 -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	@echo "installing what it needs (once)"
	@$(VENV)/bin/pip install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.test: tests/requirements.txt $(VENV)/.runtime
	@echo "installing what the tests need (once)"
	@$(VENV)/bin/pip install --quiet --require-hashes -r tests/requirements.txt
	@touch $@
