# `make`: from a fresh clone to the quick study's report. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := study

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --upgrade \
    --python-version 3.11 --custom-compile-command 'make lock'
CONFIG ?= config/config.yaml
STUDY = $(BIN)/python envs/name_study.py $(CONFIG)
REPORT := results/quick/report.html
BENCHMARKS := results/benchmarks
# at most four: each takes a gigabyte, and whole studies take all processors by themselves
WORKERS := -n logical --maxprocesses 4 --dist worksteal

.PHONY: study plan status explorer report setup test coverage fuzz test-slurm bench bench-gpu bench-measures bench-claims bench-scale bench-slurm bench-bad-day lint format types rulegraph pages results tutorial screenshots docs lock clean help

study: $(READY) ## set up, run the quick study, and write its report
	@$(BIN)/snakemake
	@if [ ! -e $(REPORT) ] || [ -n "$$(find results/quick/figures results/quick/tables -newer $(REPORT) -print -quit)" ]; then \
	    $(BIN)/snakemake --report $(REPORT) && echo "The report is in $(REPORT), and beside it explorer.html and tables.html"; \
	else \
	    echo "Nothing to be done: the report is in $(REPORT)"; \
	fi

plan: $(READY) ## what the study of CONFIG=config/mine.yaml would train, and its cost
	@$(STUDY) > /dev/null
	@$(BIN)/snakemake plan --configfile $(CONFIG)

status: $(READY) ## how far the study of CONFIG=config/mine.yaml is
	@$(STUDY) > /dev/null
	@$(BIN)/snakemake status --configfile $(CONFIG)

explorer: $(READY) ## its runs in linked views; trains and measures what they need
	@$(STUDY) > /dev/null
	@$(BIN)/snakemake explorer --configfile $(CONFIG)

report: $(READY) ## all of the study of CONFIG=config/mine.yaml, and its report
	@$(STUDY) > /dev/null
	@$(BIN)/snakemake --configfile $(CONFIG)
	@$(BIN)/snakemake --configfile $(CONFIG) --report results/$$($(STUDY))/report.html

setup: $(READY) ## make .venv from requirements.lock

test: $(READY) ## set up, and run the unit and workflow tests
	@$(BIN)/python -m pytest $(WORKERS)

coverage: $(READY) ## the same, and tell which lines of the library they run
	@$(BIN)/python -m pytest $(WORKERS) --cov --cov-report=term:skip-covered

fuzz: $(READY) ## damage 2,000 files of each kind, and kill the quick study 25 times (an hour)
	@WEIGHTSCAPE_FUZZ=2000 WEIGHTSCAPE_KILLS=25 $(BIN)/python -m pytest $(WORKERS) tests/unit/test_fuzz_*.py tests/workflow/test_chaos.py

test-slurm: $(READY) ## run the cluster tests on a real Slurm that they bring up themselves (Debian)
	@$(BIN)/python -m pytest --durations=8 tests/cluster

bench: $(READY) ## measure training beside its peers and its floor (10 minutes, real images)
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements-bench.lock
	@$(BIN)/python -m benchmarks.prepare $(BENCHMARKS)/datasets
	@$(BIN)/python -m benchmarks.training $(BENCHMARKS)/datasets $(BENCHMARKS)/training.csv
	@$(BIN)/python -m benchmarks.jobs $(BENCHMARKS)/datasets $(BENCHMARKS)/jobs.csv

bench-gpu: $(READY) ## the same on a GPU
	@$(BIN)/python -m benchmarks.prepare $(BENCHMARKS)/datasets
	@$(BIN)/python -m benchmarks.gpu $(BENCHMARKS)/datasets $(BENCHMARKS)/training-gpu.csv

bench-measures: $(READY) ## measure the measures on 1,000 runs of width 200 (6 minutes, 2 GB of disk)
	@$(BIN)/python -m benchmarks.measures $(BENCHMARKS)/population $(BENCHMARKS)/measures.csv

bench-claims: $(READY) ## measure the stage of claims on 6,090 runs whose measures are drawn, and how good its tests are (15 minutes)
	@$(BIN)/python -m benchmarks.claims $(BENCHMARKS)/claims.csv
	@PYTHONPATH=workflow $(BIN)/python -m benchmarks.claim_tests $(BENCHMARKS)/claim_tests.csv

bench-scale: $(READY) ## measure Snakemake itself at 6,090 and 100,000 runs, without training (20 minutes)
	@$(BIN)/python -m benchmarks.scale $(BENCHMARKS)/scale.csv

bench-slurm: $(READY) ## measure 200 runs on the tests' Slurm, by runs_per_job (20 minutes)
	@$(BIN)/python -m benchmarks.cluster $(BENCHMARKS)/cluster.csv

bench-bad-day: $(READY) ## measure 6,090 pretended jobs on the tests' Slurm, whose controller freezes twice (20 minutes)
	@$(BIN)/python -m benchmarks.bad_day $(BENCHMARKS)/bad_day.csv

lint: $(READY) ## check style: ruff, snakefmt, snakemake --lint
	@$(BIN)/ruff check && $(BIN)/ruff format --check
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(BIN)/snakemake --lint

format: $(READY) ## put style right
	@$(BIN)/ruff check --fix; $(BIN)/ruff format; $(BIN)/snakefmt Snakefile workflow

types: $(READY) ## check the library's types
	@$(BIN)/mypy

rulegraph: $(READY) ## draw docs/rulegraph.svg for docs/layout.md (needs graphviz)
	@command -v dot >/dev/null || { echo "make rulegraph: install graphviz, which brings dot" >&2; exit 1; }
	@$(BIN)/snakemake --quiet all --rulegraph -- | dot -Tsvg > docs/rulegraph.svg

pages: $(READY) ## make the parts of the docs anew that follow from the code
	@PYTHONPATH=workflow $(BIN)/python -m weightscape.pages .

results: $(READY) ## judge the published results anew from their tables, and make docs/results.md
	@PYTHONPATH=workflow $(BIN)/python -m weightscape.publishing
	@PYTHONPATH=workflow $(BIN)/python -m weightscape.pages .

tutorial: $(READY) ## run docs/tutorial.ipynb on the quick study, and store what it shows
	@$(BIN)/python tests/notebook.py docs/tutorial.ipynb

docs: $(READY) ## build the documentation site in build/docs
	@$(BIN)/uv pip sync -q --require-hashes --python $(BIN)/python --target build/docs-tools requirements-docs.lock
	@PYTHONPATH=build/docs-tools $(BIN)/python -m sphinx -q -n -W -E --keep-going -c docs -d build/docs-read . build/docs
	@echo "The site is in build/docs/docs/index.html"

screenshots: $(READY) ## take the README's pictures of the quick study, after make (needs Chromium)
	@$(BIN)/python docs/screenshots.py

lock: $(READY) ## make the lock files anew from pyproject.toml
	@$(COMPILE) --extra workflow --extra dev pyproject.toml -o requirements.lock
	@for extra in bench docs; do $(BIN)/python -c "import tomllib; \
	    print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['$$extra'], sep='\n')" \
	    | $(COMPILE) -c requirements.lock - -o requirements-$$extra.lock; done

clean: ## remove .venv, the built site and all results
	rm -rf $(VENV) .snakemake .slurm build
	find results -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { if ($$1 ~ /^bench/) later = later sprintf("%-16s%s\n", $$1, $$2); \
	    else printf "%-16s%s\n", $$1, $$2 } END { printf "\nbenchmarks\n%s", later }' Makefile

$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash envs/setup.sh
	@touch $@
