# make demo    watch the whole product work once
# make test    the whole gate: lint, types, layers, migrations, tests
# make lint    the part of the gate that needs no database
# make secrets the files in .secrets/ that compose.yaml mounts, where they are missing
# make lock    resolve the dependencies anew
# make clean   remove what the above left behind
#
# `make demo` and `make test` need nothing but Python 3.11 to 3.13 and make.

.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo test lint migrations browser secrets lock clean

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
DEMO ?=
TESTS ?=

# Neither the caller's Python settings nor an activated environment may leak into ours.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PIP_REQUIRE_VIRTUALENV PIP_TARGET PIP_USER
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

# The lock names everything that is needed, with hashes; so nothing is left to resolve.
INSTALL = $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r
OURSELVES = $(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .

demo: $(VENV)/.demo
	$(BIN)/consent-ledger demo $(DEMO)

test: lint migrations browser
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

migrations: $(VENV)/.dev
	$(BIN)/python -m tests.servers sqlite -- sh -c '$(BIN)/alembic upgrade head && $(BIN)/alembic check'
	$(BIN)/python -m tests.servers postgresql -- sh -c '$(BIN)/alembic upgrade head && $(BIN)/alembic check'

browser:
	@.ci/browser

$(VENV)/.demo: $(BIN)/python requirements.lock pyproject.toml
	@echo 'installing what the service needs into $(VENV)'
	@$(INSTALL) requirements.lock
	@$(OURSELVES)
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements-dev.lock pyproject.toml
	@echo 'installing what the service and its tests need into $(VENV)'
	@$(INSTALL) requirements-dev.lock
	@$(OURSELVES)
	@touch $@ $(VENV)/.demo

$(BIN)/python:
	@python=$$(.ci/python) && echo "making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)

# Universal: one file for every supported Python and platform. No addresses, so that any index serves.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--upgrade --group build pyproject.toml

lock:
	@command -v uv >/dev/null || { echo 'make lock needs uv on PATH (pip install uv)' >&2; exit 1; }
	$(LOCK) --output-file requirements.lock
	$(LOCK) --constraint requirements.lock --group dev --output-file requirements-dev.lock

# The folder is private, the files in it readable to the containers' users; the key to its owner alone.
secrets:
	@.ci/secrets .secrets

clean:
	rm -rf $(VENV) .artifacts .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find service migrations tests -name __pycache__ -prune -exec rm -rf {} +
