# The two commands of the README are `make study` and `make test`.
STUDY  ?= config.yaml
CORES  ?= all
PYTHON ?= python3.11
FORM   ?= huggingface
WORLDS ?= 5
NAME    = $(shell sed -n 's/^name: *\([A-Za-z0-9._-]*\).*/\1/p' $(STUDY))
SNAKEMAKE = .venv/bin/snakemake --cores $(CORES) --configfile $(STUDY)

.DEFAULT_GOAL := help
.PHONY: help install study replicates export plan test test-long bench lint format docs clean

help: ## this list
	@echo "make study STUDY=studies/tiny.yaml CORES=2      (STUDY defaults to the embedded study, config.yaml)"
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-10s %s\n", $$1, $$2}'

.venv/.installed: pyproject.toml constraints.txt
	.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.installed ## install everything into .venv

# A run holds .snakemake/running (rules/common.smk), so a lock of Snakemake's that is found while nobody holds it is dead.
study: .venv/.installed ## run a study: every figure, table, report and paper under results/
	@mkdir -p .snakemake; if ls .snakemake/locks/* >/dev/null 2>&1 && flock -n .snakemake/running true; \
	then echo "make study: a run that was killed left its lock; unlocking"; $(SNAKEMAKE) --unlock; fi
	$(SNAKEMAKE) --rerun-incomplete

replicates: .venv/.installed ## a study in several worlds: make replicates STUDY=studies/atlas.yaml WORLDS=5
	files=$$(.venv/bin/python scripts/replicates.py write $(STUDY) --count $(WORLDS) --output results/replicates) || exit 1; \
	for file in $$files; do $(MAKE) --no-print-directory study STUDY=$$file || exit 1; done
	.venv/bin/python scripts/replicates.py pool $$(seq -f 'results/$(NAME)-r%g' 0 $$(($(WORLDS) - 1))) \
	--output results/$(NAME)-replicates

export: .venv/.installed ## write a cell for others: make export CELL=atlas/gptq/4/s0 FORM=compressed-tensors
	@test -n "$(CELL)" || { echo 'make export: name a cell, e.g. CELL=atlas/gptq/4/s0 (2:4 is 2-4 in paths)'; exit 1; }
	$(SNAKEMAKE) -- results/$(NAME)/exports/$(FORM)/$(CELL)/digests.json

plan: .venv/.installed ## print what a study would run, without running it
	$(SNAKEMAKE) --dry-run --quiet rules

test: .venv/.installed ## the fast tests
	.venv/bin/python -m pytest --numprocesses 2 --dist loadfile

test-long: .venv/.installed ## the long tests: whole studies, kills, real checkpoints
	.venv/bin/python -m pytest -m long

bench: .venv/.installed ## the measurements in benchmarks/; one of them: SECTIONS=layers
	.venv/bin/python benchmarks/run.py $(SECTIONS)

lint: .venv/.installed ## ruff, snakefmt, snakemake --lint, and generated files up to date
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake --lint
	.venv/bin/python -m palimpsest.settings config.yaml studies/*.yaml

format: .venv/.installed ## rewrite the sources in house style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/snakefmt Snakefile rules

docs: .venv/.installed ## regenerate config.schema.json, docs/config.md, methods.md, allocations.md and recoveries.md
	.venv/bin/python -m palimpsest.settings --write

clean: ## remove results/ and Snakemake's state; .venv stays
	rm -rf results .snakemake
