# The front door: `make help` lists what is behind it. Needs git and Python 3.11 or newer, nothing else:
# everything is installed into .venv, at the versions and hashes of requirements/*.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --require-virtualenv
# Only wheels, so that no third party's build script runs and none of them fetches what is not locked.
INSTALL := $(PIP) install -qq --require-hashes --only-binary :all: --requirement
# The project itself: its build backend is locked too, so this fetches nothing.
INSTALL_PROJECT := $(PIP) install -qq --no-deps --no-build-isolation --editable .
# The one tool that is not locked: it writes the locks. Used by `make lock` alone.
UV_VERSION := 0.13.9

# The tests start Python a thousand times, and each would compile the whole program anew (1.9 s of CPU, not 1.4).
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- set-up ------------------------------------------------------------------------------------------
# A stamp file says what .venv holds; it is remade when the lock or pyproject.toml is newer.

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "deployer needs Python 3.11 or newer, and '$(PYTHON)' is not that:" \
	        "$$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    rm -rf $(VENV); exit 1; }

$(VENV)/.local: requirements/local.txt pyproject.toml | $(BIN)/python
	@echo "Installing deployer and a local Ray into $(VENV) (once, a minute or two) ..."
	@$(INSTALL) requirements/local.txt
	@$(INSTALL_PROJECT)
	@touch $@

# The development lock contains the local one.
$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing deployer, a local Ray and the test tools into $(VENV) (once, a minute or two) ..."
	@$(INSTALL) requirements/dev.txt
	@$(INSTALL_PROJECT)
	@touch $@ $(VENV)/.local

# --- what people do ----------------------------------------------------------------------------------

# `exec` puts deployer in the shell's place, so that a signal sent to make reaches it.
.PHONY: run
run: $(VENV)/.local  ## Run the main job on an embedded default: local Ray, local git; Ctrl-C ends it
	@exec $(BIN)/deployer demo

# Every test is in one of the parts, but for those of `long`. What needs no real Ray runs on all cores. What does
# waits for it every other second, so the stories and the rest go on at the same time, each on a head of its own; what
# they print comes when they end.
.PHONY: test
test: unit  ## Run the tests, those on a real Ray too; of long rows of the same kind a part
	@$(BIN)/python -m pytest $(OTHERS) -m 'not ray and not long' $(SIDE_BY_SIDE)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target ray-stories ray-parts

.PHONY: ray-stories ray-parts
ray-stories: $(VENV)/.dev
	@$(BIN)/python -m pytest -m 'ray and not long' tests/e2e $(addprefix --ignore ,$(SHORT_STORIES))
ray-parts: $(VENV)/.dev
	@$(BIN)/python -m pytest -m 'ray and not long' $(filter-out tests/e2e/,$(OTHERS)) $(SHORT_STORIES)

# So that both take as long.
SHORT_STORIES = tests/e2e/matrix

.PHONY: long
long: $(VENV)/.dev  ## Run what `make test` leaves out of long rows of the same kind: half an hour
	@$(BIN)/python -m pytest $(OTHERS) -m 'long and not ray' $(SIDE_BY_SIDE)
	@$(BIN)/python -m pytest $(OTHERS) -m 'long and ray'

# Two for each core: these tests mostly wait, for git, for servers and for time-outs (7:51 with one, 5:11 so).
PATIENT = $(shell echo $$((2 * $$(nproc))))
SIDE_BY_SIDE = --numprocesses $(PATIENT) --dist worksteal

# All folders but that of the unit tests, of which the state machine is left: it searches for minutes. It comes first,
# so that nobody waits at the end for one long search.
OTHERS = tests/unit/machine $(filter-out tests/unit/ tests/__pycache__/,$(wildcard tests/*/))

.PHONY: check
check: lint unit  ## Format, lint, types, imports, unit tests with core/ fully covered: about a minute

.PHONY: lint
lint: $(VENV)/.dev  ## Format, lint, types, imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: unit
unit: $(VENV)/.dev  ## Unit tests, with core/ fully covered
	$(BIN)/python -m pytest tests/unit --ignore tests/unit/machine --numprocesses auto --quiet \
	    --cov=deployer.core --cov-report=term-missing --cov-fail-under=100

.PHONY: e2e
e2e: $(VENV)/.dev  ## Run the stories: the real command, real git, real Ray
	@$(BIN)/python -m pytest tests/e2e

.PHONY: matrix
matrix: $(VENV)/.dev  ## Bring about every failure on a real Ray and write docs/matrix.md: about 15 minutes
	@$(BIN)/python -m tests.e2e.matrix

.PHONY: older
RAY_VERSION ?= 2.59.0
older: $(VENV)/.dev  ## Try the way back on an older Ray (fetches it): RAY_VERSION=2.59.0
	@$(BIN)/python -m tests.e2e.older_ray $(RAY_VERSION)

.PHONY: machine
SEED ?= 1
machine: $(VENV)/.dev  ## Run the state machine for long: 5,000 runs of 30 steps, half an hour or more; SEED=1
	@$(BIN)/python -m pytest tests/unit/machine -k TestMachine --hypothesis-profile=long \
	    --hypothesis-seed=$(SEED)

.PHONY: crash
RUNS ?= 500
RAY ?= 20
crash: $(VENV)/.dev  ## Kill the daemon in the middle of 500 stories and 20 on a real Ray, and write docs/crash.md
	@$(BIN)/python -m tests.crash --runs $(RUNS) --ray $(RAY) --seed $(SEED) --page

.PHONY: restarts
restarts: $(VENV)/.dev  ## Change every option of Serve on a real Ray and write docs/restart-classes.md and docs/availability.md
	@$(BIN)/python -m tests.contract.restarts
	@$(BIN)/python -m tests.contract.availability

.PHONY: schema
schema: $(VENV)/.dev  ## Make Serve's schema of another Ray (fetches it): RAY_VERSION=2.59.0
	@$(BIN)/python -m tests.schemas.write $(RAY_VERSION)

.PHONY: fuzz
INPUTS ?= 1000000
fuzz: $(VENV)/.dev  ## Feed a million bad files to the readers and write docs/fuzz.md; SEED=1
	@$(BIN)/python -m tests.fuzz --inputs $(INPUTS) --seed $(SEED) --jobs 2 --page

.PHONY: hostile
hostile: $(VENV)/.dev  ## Follow 247 hostile repositories and write docs/hostile.md: 2 minutes
	@$(BIN)/python -m tests.hostile --page

.PHONY: git-soak
git-soak: $(VENV)/.dev  ## 1,000 fetches over each kind of remote: descriptors, threads, processes, memory
	@$(BIN)/python -m tests.git_soak

.PHONY: docs
docs: $(VENV)/.dev  ## Take the tour for real and write its transcript to docs/tour.md
	@$(BIN)/python -m tests.e2e.tour

.PHONY: screenshots
screenshots: $(VENV)/.dev  ## Take the pictures of the pages in docs/screenshots anew, with Chromium: a minute
	@$(BIN)/python -m tests.e2e.browser.screenshots

.PHONY: bench
bench: $(VENV)/.dev  ## Measure, beside the floor or a peer in the same run
	@$(BIN)/python -m benchmarks

# --- what maintainers do -----------------------------------------------------------------------------
# Keeps every pin that still fits. `make lock LOCK=--upgrade` moves all of them to the newest.
# dev.txt comes first and the others are constrained to it, so that one version of each is in all three.

LOCK ?=
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command 'make lock' $(LOCK)

.PHONY: lock
lock: | $(BIN)/python  ## Write the lock files from pyproject.toml
	@$(PIP) install -qq uv==$(UV_VERSION)
	$(COMPILE) --all-extras --group test --group build --output-file requirements/dev.txt
	$(COMPILE) --extra local --group build --constraint requirements/dev.txt --output-file requirements/local.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/run.txt

.PHONY: clean
clean:  ## Remove .venv and every cache
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
