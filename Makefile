# `make help` lists the targets. Everything runs in .venv, which the targets make and fill by themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Two processes, a file of tests to each.
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
QUICK := not embedded and not long and not browser and not packaging and not full

.DEFAULT_GOAL := help
.PHONY: help demo ui quick test full check format bench bench-peers clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

demo: $(VENV)/.runtime  ## Install, then run the built-in tasks on real sentences
	$(BIN)/nlptasks demo

ui: $(VENV)/.ui  ## Install, then serve the web app on this machine; ARGS="--browser" opens it
	$(BIN)/nlptasks ui $(ARGS)

quick: $(VENV)/.dev  ## Tests without real weights, browser, installations and slow tests
	$(TESTS) -m '$(QUICK)'

test: $(VENV)/.dev  ## All tests but the slow proofs; with `make check` this is what CI runs
	$(TESTS)

full: $(VENV)/.dev  ## All tests and the slow proofs
	$(TESTS) -m '' --hypothesis-profile full

check: $(VENV)/.dev  ## Lint, formatting and types, as mypy and pyright see them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --project tests/typing --pythonpath $(BIN)/python

format: $(VENV)/.dev  ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## Measure speed: what is reached and what is not, in 20 minutes; figures in bench.json
	$(BIN)/python benchmarks/table.py $(ARGS)

bench-peers: $(VENV)/.dev  ## Install what `make bench` compares with: llama.cpp, which is compiled, and ONNX Runtime
	$(PIP) 'llama-cpp-python>=0.3.36' onnx onnxruntime

clean:  ## Remove the environment and all caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -o -name '*.egg-info' | xargs rm -rf

# A new entry point or dependency needs a new installation, so both follow pyproject.toml.
$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

$(VENV)/.ui: $(VENV)/.runtime pyproject.toml
	$(PIP) --editable '.[train,ui]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime pyproject.toml
	$(PIP) --editable '.[all]' --group dev
	@touch $@
