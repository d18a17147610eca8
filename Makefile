# make setup | run | test | check | bench | chaos | fuzz. Each does first what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test check bench chaos fuzz lock

VENV := .venv
READY := $(VENV)/.ready
INSTANCE := run
CHAOS :=

# need COMMAND:PACKAGE ...: as root install what Debian lacks, else name it and stop.
define need
missing=""; \
for pair in $(1); do \
  command -v "$${pair%%:*}" >/dev/null || test -x "/usr/sbin/$${pair%%:*}" || missing="$$missing $${pair#*:}"; \
done; \
$(call install,$$missing)
endef
define install
if [ -n "$(1)" ]; then \
  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
    echo "Missing packages:$(1). Install them and run make again." >&2; exit 1; \
  fi; \
  echo "Installing$(1) ..."; \
  export DEBIAN_FRONTEND=noninteractive; \
  apt-get -qq update && apt-get -qq -y --no-install-recommends install $(1) >/dev/null; \
fi
endef

# The first Python of 3.11 or later that can make a virtual environment.
define find_python
python=""; \
for name in python3 python3.11 python3.12 python3.13; do \
  if "$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
done
endef

help:
	@echo "make setup   make .venv with the locked dependencies"
	@echo "make run     make an example installation in ./$(INSTANCE) and serve it"
	@echo "make test    run every test"
	@echo "make check   lint, format, types, import contracts"
	@echo "make bench   measure accept and hand-over on this machine"
	@echo "make chaos   kill everything at random under load, then check what was promised (CHAOS=--help for options)"
	@echo "make fuzz    feed 200,000 mutated messages to everything that reads mail"
	@echo "make lock    resolve requirements.lock anew"

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(find_python); \
	if [ -z "$$python" ]; then missing=" python3 python3-venv"; $(call install,$$missing); $(find_python); fi; \
	if [ -z "$$python" ]; then echo "Needed: Python 3.11 or later with venv." >&2; exit 1; fi; \
	test -x $(VENV)/bin/python || { rm -rf $(VENV); "$$python" -m venv $(VENV); }
	@echo "Installing the locked dependencies ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore \
	  --require-hashes -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore \
	  --no-deps --no-build-isolation --editable .
	@touch $(READY)

run: setup
	@if [ ! -e $(INSTANCE)/consentgate.toml ]; then $(VENV)/bin/consentgate init $(INSTANCE) --example; fi
	@echo
	@echo "Web page for staff: http://127.0.0.1:8080/ (names and passwords in $(INSTANCE)/passwords.txt)."
	@echo "SMTP for your newsletter tool: 127.0.0.1:2525. README.md has a tour of five minutes. Stop with Ctrl-C."
	@exec $(VENV)/bin/consentgate serve --config $(INSTANCE)/consentgate.toml

test: setup
	@$(call need,chromium:chromium postfix:postfix swaks:swaks dovecot:dovecot-imapd)
	@$(VENV)/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: setup
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

bench: setup
	@$(VENV)/bin/python bench/run.py

chaos: setup
	@$(VENV)/bin/python -m bench.chaos $(CHAOS)

fuzz: setup
	@$(VENV)/bin/python -m tests.fuzz --inputs 200000

lock:
	@$(VENV)/bin/python -m pip install --quiet --root-user-action=ignore pip-tools
	@$(VENV)/bin/pip-compile --extra test --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-find-links --no-header --strip-extras --allow-unsafe --quiet --output-file requirements.lock pyproject.toml
