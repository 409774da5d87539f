# Lockstep. `make` lists what there is. Needs Python >= 3.11, make and the package registries; brings the rest itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := .lockstep/tools
export UV_PYTHON_DOWNLOADS := never
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)
RUN := uv run --frozen --no-sync
EVM := contracts/evm
PYTHON_READY := .venv/.ready
NODE_READY := $(EVM)/node_modules/.ready
WORKERS ?= 2
AGAIN = echo "make: $(1) could not be installed; check the network and the room on the disk, then run make again" >&2; exit 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# --- set-up: a stamp lies in what it stands for and is younger than what that was made from; then nothing is fetched ---

.PHONY: setup
setup: $(PYTHON_READY) $(NODE_READY) ## Install everything that is missing (the other targets do it by themselves)

$(PYTHON_READY): pyproject.toml uv.lock
	@tools/bring-uv $(TOOLS)
	@echo "· installing Python packages" >&2
	@uv sync --frozen --quiet || { $(call AGAIN,the Python packages); }
	@touch $@

$(NODE_READY): $(EVM)/package.json $(EVM)/package-lock.json | $(PYTHON_READY)
	@tools/bring-node $(TOOLS)
	@echo "· installing the contract toolchain (forge, anvil, solc)" >&2
	@cd $(EVM) && npm ci --ignore-scripts --no-fund --no-audit --loglevel=error || { $(call AGAIN,the contract toolchain); }
	@touch $@

# --- use -------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## Play the main story on a devnet of its own, check every claim, leave nothing running
	@$(RUN) lockstep demo

.PHONY: up
up: setup ## Devnet, API and workers until Ctrl-C; prints addresses and a login
	@$(RUN) lockstep up

# --- proof -----------------------------------------------------------------------------------------------------------

.PHONY: test
test: setup ## Everything that must pass, with reduced counts for the long runs
	@cd $(EVM) && tools/forge test
	@$(RUN) pytest -n $(WORKERS) --dist loadfile

.PHONY: prove
prove: setup ## The same tests with the full counts; records the result in docs/proofs.md
	@$(RUN) python tools/prove.py

.PHONY: check
check: setup ## Format, lint, types, import borders, house rules, fresh contract artefacts
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python tools/house_rules.py
	@cd $(EVM) && npm run --silent check

.PHONY: bench
bench: setup ## One JSON line per benchmark; NAME=sign runs one
	@$(RUN) python -m benchmarks $(NAME)

.PHONY: fmt
fmt: setup ## Format the code and sort the imports
	@$(RUN) ruff check --fix --quiet . ; $(RUN) ruff format .

.PHONY: ci-deps
ci-deps: setup ## What CI needs from the system (nothing so far beyond Python, make and the registries)
	@echo "· nothing to install from the system" >&2

.PHONY: clean
clean: ## Remove what make built or installed here, and the devnet's data
	@rm -rf .lockstep .venv $(EVM)/node_modules $(EVM)/out $(EVM)/cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
