# The two main targets are `make quickstart` and `make test`; both make .venv first if it is missing.
# In a container: `make build up`, `make repl run="scripts/run_long_lm.py ..."`, `make down` (docs/container.md).
-include .env
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The container command, and the service of compose.yaml: repl-gpu if .env names GPUs, else repl.
COMPOSE ?= docker compose
GPU_IDS ?= none
SERVICE := $(if $(filter-out none,$(GPU_IDS)),repl-gpu,repl)
IN_COMPOSE = $(COMPOSE) $(if $(filter repl-gpu,$(SERVICE)),--profile gpu)
export GPU_IDS
export USER_ID ?= $(shell id -u)
export GROUP_ID ?= $(shell id -g)

.PHONY: quickstart test lint types contract docs pytest format clean build up down repl shell logs

quickstart: $(VENV)/.demo
	$(BIN)/longspan quickstart

test: lint types contract docs pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/basedpyright

contract: $(VENV)/.dev
	$(BIN)/lint-imports

# Builds the docs site in build/site; fails on a warning, a dead link or a request to another host.
docs: $(VENV)/.dev
	$(BIN)/python docs/site/build_site.py

pytest: $(VENV)/.dev
	$(BIN)/pytest -n 2 -q

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit("longspan needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian, apt install python3-venv"; exit 1; }
	touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)

build:
	$(IN_COMPOSE) build $(SERVICE)

# Makes the mounted folders first; the container engine would make them as root.
up:
	mkdir -p $(or $(DATA_DIR),data) $(or $(MODEL_DIR),runs) $(or $(LOG_DIR),runs/logs)
	$(IN_COMPOSE) up --detach $(SERVICE)

down:
	$(COMPOSE) --profile '*' down

repl:
	$(IN_COMPOSE) exec $(SERVICE) python $(run)

shell:
	$(IN_COMPOSE) exec $(SERVICE) bash

logs:
	$(IN_COMPOSE) logs --follow $(SERVICE)
