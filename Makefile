# Every target is a command that a newcomer runs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

BIN := .venv/bin
# Without PYTHON, infra/local/setup.sh takes python3.11, or else the first python3 that is new enough.
PYTHON ?=
ARGS ?=
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
MINIO := $(CURDIR)/.factory/bin/minio
COMPILE := CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras \
	--allow-unsafe --all-build-deps --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: help setup demo test lint chaos chaos-soak bench quality docs up down status doctor lock minio test-minio clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: virtual environment, pinned packages, RabbitMQ
	@PYTHON='$(PYTHON)' infra/local/setup.sh

demo: setup ## run a job on sample feeds and show its report
	$(BIN)/factory demo $(ARGS)

test: ## run all tests (unit, integration, e2e) on servers of their own
	@PYTHON='$(PYTHON)' infra/local/setup.sh tests
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: setup ## ruff and the strict type check
	$(BIN)/ruff check .
	$(BIN)/mypy

chaos: setup ## try faults on real servers (ROWS=3,9,13 SEED=7 ARGS='--report docs/chaos.md')
	$(BIN)/python -m tests.chaos $(if $(ROWS),--rows $(ROWS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos-soak: setup ## 2000 executions in a storm of ten minutes (MINUTES=10 EXECUTIONS=2000 SEED=7)
	$(BIN)/python -m tests.chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(EXECUTIONS),--executions $(EXECUTIONS)) \
		$(if $(SEED),--seed $(SEED)) $(ARGS)

bench: setup ## measure beside other systems (SYSTEMS=factory,floor SECONDS_EACH=15 PARTS=throughput ALTERNATIONS=3)
	$(BIN)/python -m benchmarks $(if $(SYSTEMS),--systems $(SYSTEMS)) $(if $(PARTS),--parts $(PARTS)) \
		$(if $(SECONDS_EACH),--seconds-each $(SECONDS_EACH)) $(if $(ALTERNATIONS),--alternations $(ALTERNATIONS)) $(ARGS)

quality: setup ## measure the analysis on labelled data (DATA=FOLDER, see docs/quality.md)
	$(BIN)/python -m benchmarks.quality $(DATA) $(ARGS)

docs: setup ## write what is derived from code: schemas, metrics, dashboards
	$(BIN)/python -m docs.generate
	$(BIN)/python -m infra.grafana

up: setup ## start the local stack and the factory in the background
	$(BIN)/factory up

down: setup ## stop everything that `make up` started
	$(BIN)/factory down

status: setup ## show what runs
	$(BIN)/factory status

doctor: setup ## check the machine and the servers, name the remedy for what is missing
	$(BIN)/factory doctor

lock: setup ## resolve pyproject.toml again into requirements*.txt with hashes
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

minio: $(MINIO) ## build the MinIO server under .factory/bin (needs Go, about four minutes)

$(MINIO):
	@command -v go >/dev/null || { echo 'make minio needs Go 1.24 or newer on PATH: install it, or keep the S3 server from the wheel.' >&2; exit 1; }
	GOBIN='$(dir $(MINIO))' GOFLAGS=-mod=mod go install github.com/minio/minio@$(MINIO_VERSION)

test-minio: setup $(if $(FACTORY_TEST_MINIO),,minio) ## run the object store suite and one pipeline on MinIO
	FACTORY_TEST_MINIO='$(or $(FACTORY_TEST_MINIO),$(MINIO))' $(BIN)/python -m pytest -m minio $(ARGS)

clean: ## stop the stack and remove what setup and the stack made (.venv, .factory, caches)
	@if [ -x $(BIN)/factory ]; then $(BIN)/factory down; fi
	rm -rf .venv .factory build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
