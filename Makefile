# Two commands on a fresh machine: `make all` runs the whole pipeline, `make test` the tests.
COMPETITION ?= demo
FROM ?=
TIME ?=
PHOTOS ?=
CAT12 ?=
TUNE ?= --trials 12 --timeout 15
# What a person gives is taken as it stands, and reaches the shell by its environment alone: neither
# make nor the shell runs what a folder's name may hold.
override COMPETITION := $(value COMPETITION)
override FROM := $(value FROM)
override TIME := $(value TIME)
override PHOTOS := $(value PHOTOS)
override CAT12 := $(value CAT12)
override TUNE := $(value TUNE)
export COMPETITION FROM TIME PHOTOS CAT12 TUNE

PYTHON ?= $(shell command -v python3.11 || command -v python3)

VENV := .venv
BIN := $(VENV)/bin
PIPELINE := $(BIN)/pipeline
INSTALLED := $(VENV)/.installed
# The tests of a file run one after the other, files at the same time: one per core.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile
THOROUGH := --hypothesis-profile=thorough

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install all test faults test-gpu test-slow test-all check format bench lock sbom clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv and install the pinned packages into it

# A build of torch that is there already, for CPUs or another CUDA, is kept and brings what it needs.
$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is older; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip show torch 2> /dev/null | grep -q '^Version: .*+' && others='cuda-|nvidia-|triton=' || others='^$$'; \
		awk -v others="^($$others)" '/^[^ ]/ { wanted = $$0 !~ others } wanted' requirements.lock > $(VENV)/requirements.lock
	$(BIN)/python -m pip install --require-hashes --only-binary :all: --requirement $(VENV)/requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

all: install ## Run every stage: make all [COMPETITION=cat-12] [FROM=folder or URL] [TIME=2h] [TUNE=off|'--trials 100']
	$(PIPELINE) run "$$COMPETITION" $${FROM:+--from "$$FROM"} $${TIME:+--time-limit "$$TIME"} --tune="$$TUNE"

test: install ## Run the tests
	$(PYTEST)

faults: install ## Run the tests that kill, fill disks, feed hostile files and start several processes
	$(PYTEST) -m faults

test-gpu: install ## Run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

test-slow: install ## Run what test-all adds to test and faults: slow tests, and more examples of drawn ones
	$(PYTEST) $(THOROUGH) -m "(slow or hypothesis) and not (faults or gpu or network)"

test-all: install ## Run all tests but those that need a network
	$(PYTEST) $(THOROUGH) -m "not network"

check: install ## Run the linter, the formatter's check and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Mend what the linter and formatter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure speed as ratios, both sides in one run: make bench [PHOTOS=folder of images] [CAT12=folder of its archives]
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.input_pipeline $${PHOTOS:+"$$PHOTOS"}
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.training_step
	$(BIN)/python -m benchmarks.data_waiting $${PHOTOS:+"$$PHOTOS"}
	$(BIN)/python -m benchmarks.frozen_layers
	$(BIN)/python -m benchmarks.prediction
	if [ -n "$$CAT12" ]; then $(BIN)/python -m benchmarks.time_to_accuracy "$$CAT12"; fi

lock: install ## Renew requirements.lock: pins, and the sha256 of every file published for them
	UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile pyproject.toml --extra dev --extra weights \
		--universal --python-version 3.11 --generate-hashes --no-annotate --quiet --output-file requirements.lock

sbom: install ## Write sbom.json: the packages that are installed, as CycloneDX says it
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(BIN)/python

clean: ## Remove results and caches; keep .venv, what was downloaded, reviewed labels and judges' scores
	find artifacts submissions -mindepth 2 ! -type d ! -name corrections.csv ! -name log.csv -delete
	find artifacts submissions -mindepth 1 -type d -empty -delete
	rm -rf folds/* data/*/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
