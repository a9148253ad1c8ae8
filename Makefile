# `make`: from a fresh clone to the quick study's report. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := study

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
REPORT := results/quick/report.html

.PHONY: study setup test lint format types rulegraph lock clean help

study: $(READY) ## set up, run the quick study, and write its report
	@$(BIN)/snakemake --quiet rules host --
	@if [ ! -e $(REPORT) ] || [ -n "$$(find results/quick/figures results/quick/tables -newer $(REPORT) -print -quit)" ]; then \
	    $(BIN)/snakemake --quiet all --report $(REPORT) -- && echo "The report is in $(REPORT)"; \
	else \
	    echo "Nothing to be done: the report is in $(REPORT)"; \
	fi

setup: $(READY) ## make .venv from requirements.lock

test: $(READY) ## set up, and run the unit and workflow tests
	@$(BIN)/python -m pytest

lint: $(READY) ## check style: ruff, snakefmt, snakemake --lint
	@$(BIN)/ruff check && $(BIN)/ruff format --check
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

format: $(READY) ## put style right
	@$(BIN)/ruff check --fix; $(BIN)/ruff format; $(BIN)/snakefmt Snakefile workflow

types: $(READY) ## check the library's types
	@$(BIN)/mypy

rulegraph: $(READY) ## draw docs/rulegraph.svg for the README (needs graphviz)
	@command -v dot >/dev/null || { echo "make rulegraph: install graphviz, which brings dot" >&2; exit 1; }
	@$(BIN)/snakemake --quiet all --rulegraph -- | dot -Tsvg > docs/rulegraph.svg

lock: $(READY) ## make requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --all-extras --upgrade \
	    --python-version 3.11 --custom-compile-command 'make lock' pyproject.toml -o requirements.lock

clean: ## remove .venv and all results
	rm -rf $(VENV) .snakemake
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash envs/setup.sh
	@touch $@
