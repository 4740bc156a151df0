# One command per act; `make help` lists them. `demo` and `test` set everything up first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test browser check format docs dag clean

CORES ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
PYTEST_OPTIONS ?=
DEMO := --configfile config/demo.yaml
SNAKEFILES := Snakefile rules
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready .venv-liger/.tried .make/native-tools ## .venv, .venv-liger and the native tools

.venv/.ready: locks/main.txt
	@scripts/python_environment.sh main

.venv-liger/.tried: locks/liger.txt | .venv/.ready
	@scripts/python_environment.sh liger || \
		echo "set-up: no LIGER environment; going on, only the method liger will fail (delete .venv-liger to try again)"
	@mkdir -p .venv-liger && touch $@

.make/native-tools: .venv/.ready scripts/native_tools.sh
	@scripts/native_tools.sh
	@touch $@

demo: setup ## from simulated reads to tables, figures and the report, and what was recovered
	snakemake all $(DEMO) --cores $(CORES) --rerun-incomplete $$(cat .make/snakemake-options 2>/dev/null)
	@python scripts/show_recovery.py results-demo

test: setup check ## check, then every test
	pytest $(PYTEST_OPTIONS)

browser: ## Chromium, in which the tests open the report (by apt, as root); they skip it where it is missing
	@scripts/browser.sh

check: .venv/.ready ## style, types, direction of imports, lint of the workflow
	ruff check .
	ruff format --check .
	snakefmt --check $(SNAKEFILES)
	mypy
	lint-imports
	snakemake --lint $(DEMO)

format: .venv/.ready ## the fixing twins of check
	ruff check --fix .
	ruff format .
	snakefmt $(SNAKEFILES)

docs: .venv/.ready ## docs/data.md from the contracts and the rules
	python scripts/document_data.py docs/data.md

dag: .venv/.ready ## picture of the rules: docs/dag.svg, or docs/dag.dot without graphviz
	snakemake all $(DEMO) --rulegraph dot --quiet > .make/dag.dot
	if command -v dot > /dev/null; then dot -Tsvg .make/dag.dot -o docs/dag.svg; \
	else cp .make/dag.dot docs/dag.dot; echo "no graphviz here: docs/dag.dot"; fi

clean: ## caches and the demo's results; environments stay
	rm -rf results-demo results-demo-* .snakemake .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
