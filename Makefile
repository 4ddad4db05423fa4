# One command for each thing a person does with a checkout. `make` alone lists them.
PYTHON = python3
BIN = .venv/bin
# The tests start the program some hundred times: what Python compiles is kept, whatever the shell says.
export PYTHONDONTWRITEBYTECODE =

# mypy takes longest: the others run beside it.
CHECKS = check-types check-bandit check-imports check-rest

.PHONY: help run test check $(CHECKS) audit lock fuzz fuzz-corners bench clean servers torture console-style

help:
	@echo "make run    start the demonstration: everything on this machine, in one go"
	@echo "make test   all that CI checks: lint, types, import rules, tests against real servers"
	@echo "make check  the static checks of 'make test' only"
	@echo "make bench  the benchmarks"
	@echo "make torture  kill it, cut it off, lie to it, and prove that nothing is lost (SEED=…, KILLS=1000)"
	@echo "make audit  what is known against the packages in the image (exit status 3: nobody could be asked)"
	@echo "make lock   lock the image's packages anew, by version and hash"
	@echo "make fuzz   fuzz what reads any bytes (the envelope, the systems' files), SECONDS each, from SEED on"
	@echo "make fuzz-corners  fuzz the pump and agreement, SEEDS of each (0-19999), JOBS side by side"
	@echo "make clean  remove what these commands made (.venv and caches)"
	@echo "PYTHON=... chooses the Python (3.11 or newer); now: $(PYTHON)"

run: .venv/installed
	@$(BIN)/ironbridge demo

# Two workers, each with servers of its own, a gigabyte of memory and a file at a time. With a third one (-n 3) only two have work while the
# torture runs (tests/side_by_side.py), and all are done some minutes earlier, but two processors are overloaded now and then.
SIDE_BY_SIDE = -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed-test servers
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest $(SIDE_BY_SIDE) --durations=20 --durations-min=5

check: .venv/installed-test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(CHECKS)

check-types:
	@$(BIN)/mypy

check-bandit:
	@$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml canonical adapters flows ironbridge

check-imports:
	@$(BIN)/lint-imports

check-rest:
	@$(BIN)/ruff check
	@$(BIN)/python -m security.secrets
	@$(BIN)/python -m security.state_owner
	@$(BIN)/python -m security.class_names

# Exit status 3: nobody could be asked, and nothing is known.
audit: .venv/installed-test
	@$(BIN)/python -m security.audit

# What the image brings: every extra that a system or the open tables may need, but for SQL Server's, whose driver has a licence of its own.
IMAGE = $(addprefix --extra ,mariadb oracle pgp sftp store soap tables figures)
LOCK = $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --custom-compile-command "make lock"
lock: .venv/installed-test
	@$(LOCK) --upgrade pyproject.toml $(IMAGE) --output-file deploy/image/plain.lock
	@$(LOCK) --upgrade pyproject.toml $(IMAGE) --extra sqlserver --constraint deploy/image/plain.lock \
	  --output-file deploy/image/sqlserver.lock
	@echo 'hatchling>=1.27' | $(LOCK) --upgrade --output-file deploy/image/build.lock -

# SECONDS for each fuzzer, from SEED on; what it finds is kept below security/findings.
SECONDS = 60
SEED = 1
fuzz: .venv/installed-test
	@$(BIN)/python -m security.fuzz --seconds $(SECONDS) --seed $(SEED)

# Rows that change while they are read, clocks, releases, old states: judged from outside, from seeds. One seed's story:
# python -m tests.fuzz_pump --seed N --fewest -v
SEEDS = 0-19999
JOBS = 2
fuzz-corners: .venv/installed-test
	@$(BIN)/python -m tests.fuzz_pump --seeds $(SEEDS) --jobs $(JOBS)
	@$(BIN)/python -m tests.fuzz_agreement --seeds $(SEEDS) --jobs $(JOBS)

# Kills, cuts, lies and lost states on real servers, judged from outside: SEED=…, KILLS=1000, REPORT=folder.
torture: .venv/installed-test
	@$(BIN)/python -m tests.torture $(if $(SEED),--seed $(SEED)) --kills $(or $(KILLS),60) --report $(or $(REPORT),docs/torture)

bench: .venv/installed-bench servers
	@$(BIN)/python -m bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist *.egg-info

# What the console's pages look like, from npm: GOV.UK Frontend and htmx, compiled and copied into the package.
console-style:
	@cd ironbridge/console/style && npm install --no-audit --no-fund --no-package-lock --silent && npm run --silent build

# The tests and the benchmarks bring a Java, a PostgreSQL and two Kafka brokers as wheels; there is none of MariaDB and of a browser, which
# are asked of the system where we may. Elsewhere the tests that need it are skipped, and the run's end says so.
servers:
	@wanted=""; \
	{ command -v mariadbd && command -v my_print_defaults; } >/dev/null || wanted="mariadb-server-core mariadb-client-core"; \
	command -v chromium >/dev/null || wanted="$$wanted chromium fonts-liberation"; \
	ls /usr/lib*/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || wanted="$$wanted libfaketime"; \
	if [ -n "$$wanted" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing $$wanted for the tests"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$wanted; } >/dev/null 2>&1 \
	  || echo "they could not be installed: the tests that need them will say so"; \
	fi

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ironbridge needs Python 3.11 or newer, and \
	$(PYTHON) is %d.%d: choose another with make PYTHON=python3.11" % sys.version_info[:2] or 0)'
	@$(PYTHON) -m venv .venv

# Each stamp says that the checkout is installed with that extra; a changed pyproject.toml makes it stale.
.venv/installed: .venv/bin/pip pyproject.toml
	@echo "installing Ironbridge into .venv"
	@$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/installed-test: .venv/bin/pip pyproject.toml
	@echo "installing Ironbridge and its test tools into .venv"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ .venv/installed

.venv/installed-bench: .venv/bin/pip pyproject.toml
	@echo "installing Ironbridge and its benchmark tools into .venv"
	@$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	@touch $@ .venv/installed

