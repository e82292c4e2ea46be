# The two commands of the README are `make demo` and `make test`; both set themselves up.
PYTHON ?= python3
VENV := .venv
UV := uv==0.13.9
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: setup demo test lint bench bench-live soak-dose soak-epics soak-live lock clean

setup: $(VENV)/.installed

# One virtual environment, rebuilt only when the lock changes.
$(VENV)/.locked: requirements.lock
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	touch $@

demo: setup
	$(BIN)/ptycho demo --output demo-output

# As many processes as WORKERS; the tests of a file stay in one, and the long files come first.
test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Under half an hour on two cores; BENCH="--quick" or BENCH="--only speed" for less.
bench: setup
	$(BIN)/python -m benchmarks.engines $(BENCH)

# Scans interrupted at random moments; under an hour on two cores. SOAK="--runs 12 --quick" for less.
soak-dose: setup
	$(BIN)/python -m benchmarks.soak $(SOAK)

# A hundred scans over Channel Access, and what they leave behind; a quarter of an hour.
soak-epics: setup
	$(BIN)/python -m benchmarks.soak_epics $(SOAK)

# A hundred scans in which Tiled, worker, service or RunEngine are killed; under 40 minutes. SOAK="--runs 10" for less.
soak-live: setup
	$(BIN)/python -m benchmarks.soak_live $(SOAK)

# What the live reconstruction costs a scan, with Tiled healthy, slow and dead; ten minutes.
bench-live: setup
	$(BIN)/python -m benchmarks.live $(BENCH)

# Pins every dependency with its hashes.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra epics --extra ioc --extra queue --extra server --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --output-file requirements.lock

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info
