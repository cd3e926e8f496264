# Needs Python 3.11 or newer and the package index; nothing else: no Docker, no root, no system packages.
# `make` lists the targets. The first one that needs it sets .venv up from the lock file.

PYTHON ?= python3
LOCK := requirements-dev.txt
# A changed lock is another stamp, and so installs again.
READY := .venv/.ready-$(shell cksum < $(LOCK) | tr ' ' -)
# More for pytest: make test ARGS="-k quota".
ARGS ?=
# What a chaos run does wrong, and for how long.
SEED ?= 1
MINUTES ?= 2

# How much is measured: rows of a large report, rounds of each part, and which parts (by commas; all of them).
ROWS ?= 200000
ROUNDS ?= 5
ONLY ?=

.PHONY: help demo up shell test bench chaos chaos-selfcheck check clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## the main job on an embedded stack, checked against the emulated Amazon; ends by itself
	.venv/bin/python -m workers.demo

up: $(READY) ## the same stack until Ctrl-C; the orderdrain command in another terminal finds it
	.venv/bin/python -m workers.local up

shell: $(READY) ## a Python shell on the running stack, with `import tasks` done
	@test -f .orderdrain/env -o -n "$$ORDERDRAIN_DATABASE_URL" || \
		{ echo "no stack runs here. In another terminal: make up"; exit 1; }
	@.venv/bin/python -i -c 'import tasks; print(tasks.__doc__)'

test: $(READY) ## all tests, with the servers they need
	.venv/bin/pytest -n 2 --dist loadfile $(ARGS)

bench: $(READY) ## speed beside COPY, dlt, target-postgres and pandas: make bench ROWS=20000 ROUNDS=3 ONLY=large
	.venv/bin/python -m benchmarks.bench --rows $(ROWS) --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

chaos: $(READY) ## breaks a running system by a plan, and counts broken promises: make chaos SEED=1 MINUTES=2
	.venv/bin/python -m tests.chaos.run --seed $(SEED) --minutes $(MINUTES)

chaos-selfcheck: $(READY) ## without any one guard, the crash harness must see a promise broken
	.venv/bin/python -m tests.crash.selfcheck

check: $(READY) ## formatter, linter, types, import contracts
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean: ## removes what the targets above made: .venv, the peers' environments, and the stacks' data in .orderdrain
	rm -rf $$(readlink .orderdrain/*/elsewhere 2>/dev/null) .orderdrain .venv benchmarks/.venvs *.egg-info

$(READY): $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
		"$(PYTHON) is not Python 3.11 or newer. Name one that is: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@.venv/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "installing what $(LOCK) locks into .venv: a minute with pip, seconds with uv ..."
	@if command -v uv >/dev/null; then \
		uv pip install --quiet --python .venv/bin/python --require-hashes -r $(LOCK) && \
		uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .; \
	else \
		.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK) && \
		.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@rm -f .venv/.ready-* && touch $@
