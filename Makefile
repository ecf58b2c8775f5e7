# `make` shows what there is. Everything runs in .venv, created from the hash-locked requirements files.

PYTHON ?= python3
BIN    := .venv/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check sim sim-bugs soak failpoints fuzz format bench screenshot lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run ## a small world, a real daemon and an alert: see it work (ARGS="--port 8080")
	@$(BIN)/remediator demo $(ARGS)

# Tests start hundreds of Pythons: each module is compiled once, and not once in each of them.
test: export PYTHONDONTWRITEBYTECODE :=
test: .venv/.dev ## all tests (ARGS="tests/core -k bounds")
	@scripts/test-components
	@$(BIN)/pytest -n 3 --dist worksteal $(ARGS)

# Not part of `make test`: being counted costs the workers three times their own time.
coverage: export PYTHONDONTWRITEBYTECODE :=
coverage: .venv/.dev ## the same, and which lines and branches they come to
	@scripts/test-components
	@$(BIN)/pytest -n 3 --dist worksteal --cov --cov-report=term:skip-covered $(ARGS)

check: .venv/.dev ## format, lint, types, import floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

sim: export PYTHONDONTWRITEBYTECODE :=
sim: .venv/.dev ## simulate days with faults (SEED=7 | SEEDS=0-199, ALERTS=250, JOBS=1, ARGS="--json F --trace")
	@$(BIN)/python -m tests.sim --seeds $(or $(SEED),$(SEEDS),0-199) --alerts $(or $(ALERTS),250) --jobs $(or $(JOBS),1) $(ARGS)

sim-bugs: .venv/.dev ## plant bugs in the engine: the simulation must catch each (BUGS=no-fence, SEEDS=0-199, JOBS=1)
	@$(BIN)/python -m tests.sim --bugs $(or $(BUGS),all) --seeds $(or $(SEEDS),0-199) --alerts $(or $(ALERTS),100) --jobs $(or $(JOBS),1) $(ARGS)

soak: export PYTHONDONTWRITEBYTECODE :=
soak: .venv/.dev ## real faults, simulated ones, fuzzing, for long (MINUTES=30, SEED=1, SIM=1000, JSON=soak.json)
	@scripts/test-components
	@faults=0; fuzz=0; \
	$(BIN)/python -m tests.faults --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1) --sim $(or $(SIM),1000) --json $(or $(JSON),soak.json) $(ARGS) || faults=$$?; \
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),30) --jobs 2 || fuzz=$$?; \
	exit $$((faults | fuzz))

fuzz: export PYTHONDONTWRITEBYTECODE :=
fuzz: .venv/.dev ## bytes nobody thinks of (ON="webhook api", SECONDS=30 each, JOBS=1, ARGS="--seed 7")
	@$(BIN)/python -m tests.fuzz $(ON) --seconds $(or $(SECONDS),30) --jobs $(or $(JOBS),1) $(ARGS)

failpoints: export PYTHONDONTWRITEBYTECODE :=
failpoints: .venv/.dev ## SIGKILL at each COMMIT and each request, each kind of act, both stores
	@scripts/test-components
	@$(BIN)/python -m tests.faults --failpoints

format: .venv/.dev ## format, and mend what ruff can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: .venv/.dev ## measure, and compare with what bench/ promises
	@$(BIN)/python -m bench $(ARGS)

screenshot: .venv/.dev ## the status page of a running demo, as a PNG
	@$(BIN)/python scripts/screenshot.py $(ARGS)

lock: .venv/.dev ## write the hash-locked requirements files anew (UPGRADE=1: newest versions)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove what make created
	rm -rf .venv build dist *.egg-info .coverage* htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +

.venv/.run: pyproject.toml requirements.txt requirements-build.txt scripts/make-venv
	@echo "preparing .venv (a minute, once) ..."
	@PYTHON="$(PYTHON)" scripts/make-venv run
	@touch $@

.venv/.dev: .venv/.run requirements-dev.txt
	@PYTHON="$(PYTHON)" scripts/make-venv dev
	@touch $@
