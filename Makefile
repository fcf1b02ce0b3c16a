# Two commands: `make quickstart` and `make test`. Both build .venv first, from scratch where it is missing.
# In a container: `make build up`, `make repl run="scripts/run_long_lm.py ..."`, `make down` (docs/container.md).
-include .env
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# What runs containers, and which of compose.yaml's services: repl, or repl-gpu where .env names GPUs.
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

# The docs site, in build/site; a warning, a dead link or a request to another host fails.
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

# The folders are made here: those that the container engine makes are root's.
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
