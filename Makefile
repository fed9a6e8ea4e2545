# make run: the server. make test: the tests. make check: all that CI runs.

PYTHON ?= python3
HOST ?= 0.0.0.0
PORT ?= 9000
ARGS ?=
TESTS ?= tests

VENV := .venv
PY := $(VENV)/bin/python
PIP := -m pip --disable-pip-version-check install --quiet --require-hashes
AUDIT := $(VENV)/audit/bin
LOCK := $(AUDIT)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --custom-compile-command "make lock" $(ARGS)
MODEL := server/model/efficientnet_lite0.onnx

# The container: its engine, docker if one answers, is found when it is needed.
ENGINE ?= $(shell docker info >/dev/null 2>&1 && echo docker \
  || basename "$$(command -v podman || command -v buildah)")
IMAGE := image-model-server
NAME ?= $(IMAGE)
TAG ?= latest
PUBLISH ?= 8000
BUILD_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test faults check contract fuzz audit lock sbom chaos soak overload crowd outage \
  million bench dataloop-test docker docker-build docker-push docker-stop docker-test engine runs addressed \
  format clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(VENV)/server $(MODEL) ## make .venv and the default model

run: setup ## serve: make run HOST=127.0.0.1 PORT=9000 ARGS="--workers 4"
	@exec $(PY) -m server --host $(HOST) --port $(PORT) $(ARGS)

test: setup $(VENV)/dev ## run the tests, but for those of faults and of the container
	@$(PY) -m pytest --ignore tests/faults --ignore tests/container

faults: setup $(VENV)/dev ## run the tests of faults: kills, full disks, power cuts, bad models
	@$(PY) -m pytest tests/faults

check: setup $(VENV)/dev ## format, lint, types, all tests but those of the container
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(VENV)/bin/hadolint Dockerfile
	@$(VENV)/bin/hadolint --ignore DL3006 --ignore DL3045 examples/Dockerfile # its base is ours
	@$(PY) -m pytest $(TESTS) --ignore tests/container

fuzz: setup $(VENV)/fuzz ## a million broken uploads: make fuzz ARGS="--inputs 20000 --images 5000 --seed 2"
	@$(PY) -m tests.hostile.fuzz $(ARGS)

audit: $(AUDIT)/ready ## has a package a known vulnerability, or the code a bad habit?
	@$(AUDIT)/bandit --quiet --recursive --configfile pyproject.toml server tools
	@$(AUDIT)/pip-audit --strict --disable-pip --require-hashes \
	  $(foreach file,$(wildcard requirements*.txt),--requirement $(file)) \
	  || { echo "A package is vulnerable, or PyPI's list of vulnerabilities can't be had."; exit 1; }

lock: $(AUDIT)/ready ## write requirements*.txt: make lock ARGS="--upgrade-package aiohttp"
	@$(LOCK) pyproject.toml --output-file requirements.txt
	@$(LOCK) --group model --constraint requirements.txt --output-file requirements-model.txt
	@$(LOCK) --group tools --constraint requirements.txt --output-file requirements-tools.txt
	@$(LOCK) --group dev --constraint requirements.txt --constraint requirements-tools.txt \
	  --output-file requirements-dev.txt
	@$(LOCK) --group container --output-file requirements-container.txt
	@$(LOCK) --group photos --no-deps --output-file requirements-photos.txt
	@$(LOCK) --group fuzz --output-file requirements-fuzz.txt
	@$(LOCK) --group audit --output-file requirements-audit.txt

chaos: setup $(VENV)/dev ## kill the server 200 times under load: make chaos ARGS="--kills 20"
	@$(PY) -m tools.chaos $(ARGS)

soak: setup $(VENV)/dev ## 100,000 requests: does memory grow, do files stay open?
	@$(PY) -m tools.soak $(ARGS)

overload: setup $(VENV)/dev ## 1,000 clients against a queue of 32: what gets through?
	@$(PY) -m tools.overload $(ARGS)

crowd: setup $(VENV)/dev ## 5,000 idle connections and 500 slow writers: how long does a predict take?
	@$(PY) -m tools.crowd $(ARGS)

outage: setup $(VENV)/dev ## break the way to S3, kill S3 and the server at every step: what is lost?
	@$(PY) -m tools.outage $(ARGS)

million: setup $(VENV)/dev ## import and export a million results: how long, how much memory?
	@$(PY) -m tools.million $(ARGS)

sbom: setup $(VENV)/dev ## write sbom.cdx.json: what ships, and its licences
	@$(PY) -m tools.sbom sbom.cdx.json

contract: setup $(VENV)/dev ## 10,000 calls made up of /openapi.json: is each answered as it says?
	@$(PY) -m tests.contract.run $(ARGS)

bench: setup $(VENV)/dev ## this server beside its peers: make bench QUICK=1 PEERS=fastapi,mosec WORKLOADS=abc
	@$(PY) -m tools.bench $(if $(QUICK),--quick) $(if $(PEERS),--peers $(PEERS)) \
	  $(if $(WORKLOADS),--workloads $(WORKLOADS)) $(ARGS)

dataloop-test: setup $(VENV)/tools ## annotate a Dataloop item: make dataloop-test ITEM=<its id> ARGS="--dry-run"
	@$(PY) tools/dataloop_test.py $(if $(ITEM),--item-id $(ITEM)) $(ARGS)

docker: runs docker-build ## build the image and run it: make docker PUBLISH=8000 ARGS="--workers 4"
	@$(ENGINE) stop $(NAME) >/dev/null 2>&1 || true
	@$(ENGINE) rm --force $(NAME) >/dev/null 2>&1 || true
	@$(ENGINE) run --detach --name $(NAME) --publish $(PUBLISH):9000 --volume $(NAME)-data:/data \
	  --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
	  $(IMAGE):$(TAG) $(ARGS) >/dev/null
	@echo "serving  http://localhost:$(PUBLISH)/  (results: volume $(NAME)-data)"
	@echo "try      curl -F image=@examples/cat.jpg http://localhost:$(PUBLISH)/predict"
	@echo "log      $(ENGINE) logs --follow $(NAME)"
	@echo "stop     make docker-stop"

docker-build: engine ## build the image: make docker-build BUILD_ARGS="--build-arg BASE=..."
	@$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --tag $(IMAGE):$(TAG) \
	  --build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' server/__init__.py)" \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null)" \
	  --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" $(BUILD_ARGS) .

docker-push: addressed docker-build ## build the image and push it: make docker-push REPO=registry.example/team/server TAG=1.0
	@$(ENGINE) tag $(IMAGE):$(TAG) $(REPO):$(TAG)
	@$(ENGINE) push $(REPO):$(TAG)

docker-stop: runs ## stop the container; its results stay
	@$(ENGINE) stop $(NAME) >/dev/null && $(ENGINE) rm $(NAME) >/dev/null && echo "$(NAME) is stopped"

docker-test: setup $(VENV)/dev ## build the image and test it, hardened, in an engine of this machine
	@$(PY) -m pytest tests/container -rs

engine:
	@test -n "$(ENGINE)" || { echo "No container engine here: install Docker, or podman (on Debian: apt-get install podman)."; exit 1; }

addressed:
	@test -n "$(REPO)" || { echo "Say where to: make docker-push REPO=registry.example/team/server TAG=1.0"; exit 1; }

runs: engine
	@test "$(ENGINE)" != buildah || { echo "buildah builds images (make docker-build) but runs none: install podman or Docker."; exit 1; }

format: setup $(VENV)/dev ## put the code in shape
	@$(PY) -m ruff check --fix --select I .
	@$(PY) -m ruff format .

clean: ## remove what make made; results in data/ stay
	rm -rf $(VENV) $(MODEL) .mypy_cache .ruff_cache .pytest_cache .hypothesis sbom.cdx.json

$(VENV)/server: requirements.txt requirements-model.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) \
	  || { echo "On Debian: apt-get install python3-venv"; rm -rf $(VENV); exit 1; }
	$(PY) $(PIP) -r requirements.txt -r requirements-model.txt
	@touch $@

$(VENV)/tools: requirements-tools.txt $(VENV)/server
	$(PY) $(PIP) -r requirements-tools.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt requirements-tools.txt requirements-photos.txt $(VENV)/server
	$(PY) $(PIP) -r requirements-tools.txt -r requirements-dev.txt
	$(PY) $(PIP) --no-deps -r requirements-photos.txt
	@touch $@

$(VENV)/fuzz: requirements-fuzz.txt $(VENV)/dev
	$(PY) $(PIP) -r requirements-fuzz.txt
	@touch $@

$(AUDIT)/ready: requirements-audit.txt | $(VENV)/server
	$(PY) -m venv $(VENV)/audit
	$(AUDIT)/python $(PIP) -r requirements-audit.txt
	@touch $@

$(MODEL): tools/export_model.py requirements-model.txt | $(VENV)/server
	$(PY) tools/export_model.py $@
	@touch $@
