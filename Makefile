# Two commands are all a fresh machine needs: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One more than there are cores: many tests wait for a browser, a broker or a clock.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# Static checks need settings but no running parts: these stand in for a deployment's.
CHECK_ENV := SECRET_KEY=only-for-static-checks DATABASE_URL=postgresql://check@localhost/check \
	MQTT_URL=mqtt://127.0.0.1:1883 CELERY_BROKER_URL=memory:// VAULT_MASTER_KEY_FILE=/dev/null \
	DEVICE_CA_CERTIFICATE_FILE=/dev/null COMMAND_SIGNING_KEY_FILE=/dev/null RELEASE_SIGNING_KEY_FILE=/dev/null \
	AUDIT_SIGNING_KEY_FILE=/dev/null TUF_ONLINE_KEY_FILE=/dev/null

.PHONY: run test check bench docs words clean clean-state lock format
.DEFAULT_GOAL := run

run: $(VENV)/.run-ready
	@exec $(BIN)/python manage.py up

test: $(VENV)/.dev-ready
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(VENV)/.dev-ready
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(CHECK_ENV) $(BIN)/mypy
	@$(CHECK_ENV) $(BIN)/lint-imports --no-cache
	@$(CHECK_ENV) $(BIN)/python manage.py check --fail-level WARNING
	@$(CHECK_ENV) $(BIN)/python manage.py makemigrations --check --dry-run --skip-checks 2>/dev/null
	@$(CHECK_ENV) $(BIN)/python manage.py protocol_docs --check
	@$(CHECK_ENV) $(BIN)/python manage.py client_code --check
	@$(CHECK_ENV) $(BIN)/python manage.py words --check

bench: $(VENV)/.dev-ready
	@$(BIN)/python -m bench

words: $(VENV)/.dev-ready
	@$(CHECK_ENV) $(BIN)/python manage.py words

docs: $(VENV)/.dev-ready
	@$(CHECK_ENV) $(BIN)/python manage.py protocol_docs
	@$(CHECK_ENV) $(BIN)/python manage.py client_code

format: $(VENV)/.dev-ready
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

lock: $(VENV)/.dev-ready
	@$(BIN)/python -m pip install -q uv==0.9.* && $(BIN)/python deploy/lock.py

clean:  # leaves the installation's state (.run) alone
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .test_database .hypothesis

clean-state:  # removes the database, the keys and the simulated fleet of `make run` for good
	rm -rf $(or $(STATE_DIR),.run)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "Tillwarden needs Python 3.11 or newer; %s is %d.%d. Try: make run PYTHON=python3.12" % (sys.executable, v[0], v[1]))'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: requirements.txt | $(VENV)/bin/python
	@echo "Installing Tillwarden's packages into $(VENV) (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev-ready: requirements-dev.txt | $(VENV)/bin/python
	@echo "Installing the contributor's packages into $(VENV) (once) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.run-ready
