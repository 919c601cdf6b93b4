# What one does with FISO on one machine. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHON
# uv trusts what this machine trusts, as pip and npm do
export UV_SYSTEM_CERTS ?= true

BIN := .venv/bin
CODE := shared scripts functions tests
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  $(if $(filter 1,$(UPGRADE)),--upgrade)
LOCKS := $(patsubst %.in,%.txt,$(wildcard scripts/requirements/*.in functions/*/requirements.in))

.PHONY: help setup run unit test samples check bench chaos package wheels docs clean distclean lock

help: ## list what there is
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: ## install everything into this folder (.venv, .local, node_modules); quick the second time
	@scripts/setup

run: setup ## boot the local cloud, deploy, route a first batch, serve until Ctrl-C (ONCE=1: stop after the batch)
	@exec $(BIN)/fiso demo $(if $(filter 1,$(ONCE)),--once)

unit: setup ## unit, property and golden tests, under a minute
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/unit tests/property tests/golden

test: setup ## the whole test suite, with coverage of shared/ and functions/
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not e2e and not slow" --cov=shared --cov=functions --cov-report=term:skip-covered
	@$(BIN)/python -m pytest -q -m e2e

samples: setup ## the tests of hostile input with samples in full: events, tokens, secrets, models, clocks (minutes)
	@$(BIN)/python -m pytest -q -m slow

check: setup ## format, lint, types, import contracts, the packaged template, security: what CI checks
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/ruff check --quiet $(CODE)
	$(BIN)/mypy
	PYTHONPATH=shared:scripts:. $(BIN)/lint-imports --no-logo
	$(BIN)/python -m fiso_cli.packaging --stage prod --template
	$(BIN)/cfn-lint --include-checks I3510 -- build/prod/cloudformation-template.json
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive shared scripts functions 2>&1 | { grep -v WARNING || true; }

bench: setup ## measure, against the naive design, into .local/bench.json
	@$(BIN)/python -m tests.lab bench

chaos: setup ## break clouds and stores, and measure whether FISO goes on (reduced samples), into .local/chaos
	@$(BIN)/python -m tests.lab chaos run --all --quick

package: setup ## build a stage's deployment packages: make package STAGE=prod
	@$(if $(STAGE),,echo 'error: which stage? say make package STAGE=prod' >&2; exit 2)
	@$(BIN)/fiso package --stage $(STAGE) --template

wheels: setup ## build the distributions fiso-client (Python and Node), fiso and fiso-cli into dist/
	@for made in scripts/distributions/*/pyproject.toml; do \
	  $(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist "$$(dirname "$$made")"; \
	done
	@cd scripts/distributions/fiso-client-js && npm pack --silent --pack-destination ../../../dist > /dev/null; ls ../../../dist

docs: setup ## build the documentation as a site into build/site; a dead link stops it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict; echo build/site/index.html

clean: ## stop the local cloud and delete what it and the builds wrote; the installed tools stay
	@if [ -x $(BIN)/fiso ]; then $(BIN)/fiso local reset --yes; fi
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 -not -name cache -exec rm -rf {} +; fi
	@rm -rf dist .serverless .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## delete the installed tools too
	@rm -rf .venv .local node_modules build

lock: ## compile every requirements file anew from what is pinned now (UPGRADE=1: from what is newest)
	$(COMPILE) pyproject.toml --extra dev --output-file requirements.txt
	@for lock in $(LOCKS); do \
	  echo "$$lock" >&2; \
	  $(COMPILE) "$${lock%.txt}.in" $$([ "$$lock" = scripts/requirements/uv.txt ] && echo --constraints requirements.txt) --output-file "$$lock"; \
	done
