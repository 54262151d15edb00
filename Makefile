# The commands of the project. `make` alone lists them; each sets up what it needs in .venv by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Lambda's runtime is Python 3.13; any Python from 3.11 on trains, exports, and tests.
PYTHON ?= $(shell for python in python3.13 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done)
DATA ?= auto
GRID ?= small
PORT ?= 3000
PROCESSES ?= 1
REQUESTS ?= 200000
BUILD ?= build
BIN := .venv/bin
INSTALL := pip install --quiet --disable-pip-version-check --require-hashes
export ORT_DISABLE_TELEMETRY := 1
export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, not " + sys.version.split()[0])'
	@echo "Setting up .venv with $$($(PYTHON) --version): a minute or two, once"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/$(INSTALL) --requirement requirements.txt
	@touch $@

.PHONY: run
run: .venv/ready ## train, export, prove, pack, score a sample event [DATA=auto|uci|synthetic|PATH]
	@$(BIN)/python -m train --data "$(DATA)" --out $(BUILD) --grid $(GRID)
	@$(BIN)/python -m export $(BUILD)/pipeline.joblib --out $(BUILD)/model.onnx
	@$(BIN)/python -m train.report $(BUILD)  # once more: the model card names the file's version and its proof
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --out $(BUILD)
	@$(BIN)/python -m infra.local invoke ScoreFunction --event tests/events/http_api_v2.json --code $(BUILD)/function

.PHONY: test
test: lint ## lint, types, import rules, tests
	@$(BIN)/pytest -n 2 --dist worksteal

.PHONY: lint
lint: .venv/ready ## lint, types and import rules alone, some seconds
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: .venv/ready ## bring the code into its form: imports, what ruff can mend, layout
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: coverage
coverage: .venv/ready ## the tests once more, then the share of lines and branches that they reach, by module
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 2 --dist worksteal
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

.PHONY: package
package: .venv/ready ## pack build/model.onnx and the function: build/function, build/function.zip
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --out $(BUILD)

# SAM pins much, so it has an environment of its own.
.venv-sam/ready: .venv/ready infra/requirements.txt
	@echo "Setting up .venv-sam: half a minute, once"
	@$(BIN)/python -m venv --clear .venv-sam
	@.venv-sam/bin/$(INSTALL) --requirement infra/requirements.txt
	@touch $@

.PHONY: serve
serve: .venv-sam/ready ## serve the packed function behind SAM's API emulation, no Docker [PORT=3000] [PROCESSES=1]
	@test -d $(BUILD)/function || $(MAKE) --no-print-directory run
	@.venv-sam/bin/python -m infra.local serve --code $(BUILD)/function --port $(PORT) --processes $(PROCESSES)

.PHONY: queue-demo
queue-demo: .venv/ready ## ten messages through queues and the packed function, no AWS account
	@test -d $(BUILD)/function || $(MAKE) --no-print-directory run
	@$(BIN)/python -m infra.local.queue_demo --code $(BUILD)/function

.PHONY: bench
bench: .venv/ready ## the function and the model file against bare code, scikit-learn and, where installed, shap
	@test -f $(BUILD)/model.onnx || $(MAKE) --no-print-directory run
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --out $(BUILD)
	@$(BIN)/python -m benchmarks --build $(BUILD)

.PHONY: bench-growth
bench-growth: .venv/ready ## how cost grows with the model and the work, and where Lambda's limits are met: 8 minutes
	@test -f $(BUILD)/model.onnx || $(MAKE) --no-print-directory run
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --out $(BUILD)
	@$(BIN)/python -m benchmarks.growth --build $(BUILD) --out $(BUILD)/growth.json

# locust pins much, too.
.venv-load/ready: .venv/ready benchmarks/requirements-load.txt
	@echo "Setting up .venv-load: half a minute, once"
	@$(BIN)/python -m venv --clear .venv-load
	@.venv-load/bin/$(INSTALL) --requirement benchmarks/requirements-load.txt
	@touch $@

.PHONY: load
load: .venv-sam/ready .venv-load/ready ## what make serve serves under load, every answer checked [REQUESTS=200000]
	@test -f $(BUILD)/model.onnx || $(MAKE) --no-print-directory run
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --out $(BUILD)
	@$(BIN)/python -m benchmarks.load --build $(BUILD) --requests $(REQUESTS)

.PHONY: bench-peers
bench-peers: .venv/ready ## the same models served by others, side by side: half an hour, needs a Docker engine
	@test -f $(BUILD)/model.onnx || $(MAKE) --no-print-directory run
	@$(BIN)/python -m benchmarks.peers --build $(BUILD) --out $(BUILD)/peers.json

.PHONY: notebook
notebook: .venv/ready ## the notebook's full grid, and its models compared and exported: an hour on two cores [DATA=auto]
	@$(BIN)/python -m train --data "$(DATA)" --out $(BUILD) --grid notebook
	@$(BIN)/python -m export $(BUILD)/pipeline.joblib --out $(BUILD)/model.onnx
	@$(BIN)/python -m train.compare --data "$(DATA)" --out $(BUILD)
	@$(BIN)/python -m benchmarks.models --build $(BUILD)

.venv/e2e-ready: .venv/ready tests/requirements-e2e.txt
	@echo "Adding tests/requirements-e2e.txt to .venv: a minute or two, once"
	@$(BIN)/$(INSTALL) --requirement tests/requirements-e2e.txt
	@$(BIN)/pip check --disable-pip-version-check
	@touch $@

.PHONY: test-e2e
test-e2e: .venv/e2e-ready .venv-sam/ready ## tests that need a Docker engine, Chromium or npm; each without says so
	@$(BIN)/pytest -m e2e -n 2 --dist loadfile

# checkov pins much, too.
.venv-checkov/ready: .venv/ready infra/requirements-checkov.txt
	@echo "Setting up .venv-checkov: a minute or two, once"
	@$(BIN)/python -m venv --clear .venv-checkov
	@.venv-checkov/bin/$(INSTALL) --requirement infra/requirements-checkov.txt
	@touch $@

.PHONY: check-template
check-template: .venv-sam/ready .venv-checkov/ready ## lint before and after SAM's transform, and checkov's security checks
	@.venv-sam/bin/sam validate --lint
	@.venv-sam/bin/python -m infra.check_template
	@.venv-checkov/bin/checkov --file template.yaml --compact --quiet

# uv and pip-audit
.venv-supply/ready: .venv/ready infra/requirements-supply.txt
	@echo "Setting up .venv-supply: some seconds, once"
	@$(BIN)/python -m venv --clear .venv-supply
	@.venv-supply/bin/$(INSTALL) --requirement infra/requirements-supply.txt
	@touch $@

# For all platforms and from the oldest Python on, with the hash of every file of every package. What stays as it is in a
# NAME.in keeps its version in NAME.txt.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" .venv-supply/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate

.PHONY: lock
lock: .venv-supply/ready ## pin what the requirements (*.in) ask for, with hashes: *.txt
	@$(COMPILE) --no-deps lambda_fn/requirements.in --output-file lambda_fn/requirements.txt
	@$(COMPILE) requirements.in --output-file requirements.txt
	@for name in tests/requirements-e2e infra/requirements-runtime; do \
		$(COMPILE) $$name.in --constraints requirements.txt --override tests/requirements-e2e.override \
			--output-file $$name.txt; done
	@for name in infra/requirements{,-checkov,-supply} benchmarks/requirements-load \
		benchmarks/peers/requirements-{mlserver,bentoml}; do \
		$(COMPILE) $$name.in --output-file $$name.txt; done

.PHONY: audit
audit: .venv-supply/ready ## ask for known vulnerabilities of what is packed
	@.venv-supply/bin/python -m infra.audit lambda_fn/requirements.txt

.PHONY: docs
docs: .venv/ready ## bring what was measured in build folders into the documents [FROM="build ..."]
	@$(BIN)/python -m benchmarks.docs $(FROM)

.PHONY: clean
clean: ## remove what the other targets made, .venv included
	@rm -rf .venv .venv-sam .venv-checkov .venv-supply .cache $(BUILD) .aws-sam .coverage .coverage.*

# `sam build` calls this for each function of template.yaml, by way of infra/build/ARCHITECTURE/Makefile.
build-%: .venv/ready
	@$(BIN)/python -m infra.package --model $(BUILD)/model.onnx --artifacts "$(ARTIFACTS_DIR)" \
		--python-version "$$(cat .python-version)" --architecture "$(ARCHITECTURE)"
