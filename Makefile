# The doors of the project: each target says what it does in `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?= tests
SBOM ?= wellspring.cdx.json
OSV ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench torture sbom audit clean

help: ## Say what can be done here
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make .venv from the lock file (Python 3.11 or newer)

$(READY): uv.lock pyproject.toml infra/uv.lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Wellspring needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/uv.lock.txt
	UV_PROJECT_ENVIRONMENT=$(VENV) UV_SYSTEM_CERTS=1 $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode --python $(BIN)/python
	@touch $(READY)

demo: setup ## Run the main job end to end in ./demo: broker, messages, consent, lake
	$(BIN)/wellspring demo

test: setup ## All tests, with a real Kafka on loopback
	$(BIN)/python -m pytest $(TESTS)

check: setup ## Format, lint, types, dead links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.dead_links

format: setup ## Put the code into its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure against the bounds
	$(BIN)/wellspring bench

torture: setup ## A thousand kills, more on object stores and Flink, half an hour of disturbances: nothing lost, doubled, grown
	$(BIN)/python -m tests.torture --kills 1000
	$(BIN)/python -m tests.torture_s3 --kills 20 --server-kills 20
	$(BIN)/python -m tests.torture_s3 --kills 20 --server-kills 20 --vault-s3
	$(BIN)/python -m tests.flink_kills --kills 20
	$(BIN)/python -m tests.soak --minutes 30 --disturbances 20

sbom: setup ## List what an installation is made of, from the lock file: wellspring.cdx.json
	$(BIN)/uv export --quiet --frozen --no-dev --format cyclonedx1.5 --preview-features sbom-export --output-file $(SBOM)

audit: setup ## Ask OSV whether anything in the lock file is known to be vulnerable (needs the network)
	@$(BIN)/uv audit --frozen --preview-features audit-command $(if $(OSV),--service-url $(OSV)); code=$$?; \
	test $$code -le 1 || echo "make audit: NOTHING WAS CHECKED: the data on vulnerabilities could not be reached. Run it where api.osv.dev can be, or name a mirror of it: make audit OSV=https://…" >&2; \
	exit $$code

clean: ## Remove the environment and what the demo made
	rm -rf $(VENV) demo
