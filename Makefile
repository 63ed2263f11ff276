# `make` lists the targets. Everything is installed into .venv, nothing elsewhere.

PYTHON ?= python3.11
# pip older than 25.1 knows no dependency groups.
PIP    ?= 25.3
ENGINE ?= ray
# Options of the race; without any it takes about two hours, and says so before it begins.
BENCH  ?=
# Processes that run tests; many tests wait more than they compute.
WORKERS ?= 2
# How often `make test-flaky` runs the tests.
RUNS ?= 10
# Seconds that `make fuzz` tries each of HTTP/1.1 and HTTP/2.
FUZZ ?= 65
FUZZ_COMPILED ?= 15
# `make experiments SIZE=--full` simulates for hours.
SIZE   ?=
COMPILED := build/compiled
# Newer than what the wheel in dist was built from.
WHEEL    := dist/.built
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NEW    := $(VENV)-constraints

# Each process of each instance would compile all it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo wheel test test-all test-compiled fuzz test-flaky test-packaging lint bench bench-micro experiments constraints clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PYTHON (python3.11), ENGINE (ray, or local) for make demo, WORKERS (2) for tests"

demo: $(STAMP)  ## Build the demo models and serve them (ENGINE=local: without Ray)
	@echo "When it says ready, try in another terminal:"
	@echo "  curl -s localhost:8000/v2/models/cancer"
	@echo "  curl -s localhost:8000/v2/models/cancer/infer -d @demo-models/cancer/example.json"
	@echo "  $(BIN)/vigil status; $(BIN)/vigil findings cancer"
	@echo "  $(BIN)/vigil demo traffic    (a day of traffic in two minutes; what does Vigil notice?)"
	@echo "and http://127.0.0.1:8002/console in a browser. Ctrl-C stops it."
	@exec $(BIN)/vigil demo --engine $(ENGINE)

test: $(STAMP)  ## Every test but the long ones
	$(BIN)/python -m pytest -n $(WORKERS) -m "not long"

test-all: $(STAMP)  ## Every test
	$(BIN)/python -m pytest -n $(WORKERS)

fuzz: $(STAMP)  ## Wrong requests to the direct ingress and to Envoy, FUZZ (65) seconds a protocol
	seed=$${VIGIL_FUZZ_SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "VIGIL_FUZZ_SEED=$$seed"; \
	VIGIL_FUZZ_SEED=$$seed VIGIL_FUZZ_SECONDS=$(FUZZ) $(BIN)/python -m pytest -s -m fuzz tests/e2e/fuzz

test-flaky: $(STAMP)  ## `make test` RUNS (10) times, each with another seed, beside a busy process
	PYTHON=$(BIN)/python RUNS=$(RUNS) WORKERS=$(WORKERS) sh tests/flaky.sh

test-packaging: $(STAMP)  ## Build the wheel and try it outside the checkout
	$(BIN)/python -m pytest tests/packaging

wheel: $(WHEEL)  ## Build the wheel for this platform into dist, hot modules compiled (needs gcc)

# Without isolation: the tools are those of constraints.txt, and nothing is downloaded.
$(WHEEL): $(STAMP) hatch_build.py $(shell find serving monitors explain guards -type f -not -name '*.pyc')
	rm -f dist/vigil-*-linux_*.whl
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(BIN)/python -m build --wheel --no-isolation --outdir dist .
	@touch $@

test-compiled: wheel  ## Hostile, batching and gRPC tests against the compiled wheel
	rm -rf $(COMPILED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index \
	  --target $(COMPILED) dist/vigil-*-linux_*.whl
	VIGIL_COMPILED=$(COMPILED) $(BIN)/python -m pytest -n $(WORKERS) \
	  -m "not long and not ray and not fuzz" -k "not envoy" tests/e2e/test_compiled.py \
	  tests/e2e/hostile tests/e2e/test_grpc_services.py tests/e2e/test_batching.py
	VIGIL_COMPILED=$(COMPILED) VIGIL_FUZZ_SECONDS=$(FUZZ_COMPILED) \
	  $(BIN)/python -m pytest -m fuzz tests/e2e/fuzz

lint: $(STAMP)  ## Style, types, layers, spelling, generated files; fails if any of them fails
	@failed=; \
	check() { echo "== $$*"; "$$@" || failed="$$failed '$$*'"; }; \
	export PATH="$$PWD/$(BIN):$$PATH"; \
	check ruff check .; \
	check ruff format --check .; \
	check mypy; \
	check lint-imports; \
	check codespell; \
	check python -m serving.protocol.pb.generate --check; \
	check python -m serving.config.reference --check; \
	check python -m loadtest.readme --check; \
	if [ -n "$$failed" ]; then echo "lint: failed:$$failed"; exit 1; fi; \
	echo "lint: all passed"

bench: $(STAMP)  ## Race Vigil against its peers (results in loadtest/results; BENCH=--quick: 3 minutes)
	$(BIN)/python -m loadtest.bench --write $(BENCH)

bench-micro: $(STAMP)  ## Time codec, batcher, channel and gateway by themselves, without a network
	$(BIN)/python -m pytest loadtest/micro --benchmark-only --benchmark-columns=min,median -p no:randomly

experiments: $(STAMP)  ## After how many rows are losses and gaps found, and what is told for nothing?
	$(BIN)/python -m loadtest.experiments.performance_delay $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.fairness_delay $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.quiet_awake $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.slices $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.causes $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.estimates $(SIZE) --write
	$(BIN)/python -m loadtest.experiments.guards $(SIZE) --write

constraints:  ## Remake constraints.txt from the newest versions that pyproject.toml allows
	@sh deploy/check-python.sh $(PYTHON)
	rm -rf $(NEW)
	$(PYTHON) -m venv $(NEW)
	$(NEW)/bin/python -m pip install --quiet "pip==$(PIP)"
	$(NEW)/bin/python -m pip install --editable ".[client,onnx,otlp-grpc,postgres,sklearn]" --group dev --group bench
	{ echo '# Versions that are known to work together. Remade by `make constraints`; pip takes it with -c.'; \
	  $(NEW)/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; \
	} > constraints.txt
	rm -rf $(NEW)

# Installed again whenever a dependency changes; the code itself is linked, not copied.
$(STAMP): pyproject.toml constraints.txt
	@sh deploy/check-python.sh $(PYTHON)
	@echo "Installing Vigil into $(VENV): about 2 GB, some minutes the first time"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip==$(PIP)"
	@$(BIN)/python -m pip install --disable-pip-version-check \
	  --constraint constraints.txt --build-constraint constraints.txt \
	  --editable ".[client,onnx,otlp-grpc,postgres,sklearn]" --group dev
	@touch $@

clean:  ## Remove the environment, caches and demo models
	rm -rf $(VENV) $(NEW) dist build demo-models .vigil
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.bench/*' -prune -exec rm -rf {} +
