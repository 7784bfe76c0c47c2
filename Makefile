# Two commands do everything: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help venv system browser demo test check docs bench results fuzz soak dist clean

help:
	@echo "make demo   the shipped digits network on NOR-flash arrays: all test images by macro, 50 by ngspice, a report"
	@echo "make test   all tests, type checks and style checks"
	@echo "make docs   the documentation as a site that needs no network; writes build/site"
	@echo "make bench  the solvers' accuracy, speed and memory, measured; writes docs/performance.md"
	@echo "make results DATA=DIR  the accuracies of all shipped networks; DIR holds CIFAR-10; writes docs/results.md"
	@echo "make fuzz   100,000 broken files to all readers of files, guided by coverage"
	@echo "make soak   200 runs killed at random moments, each of which must go on to the same bytes"
	@echo "make dist   wheel and sdist, each installed in a new environment and run there"
	@echo "make venv   only the set-up: $(VENV) with norsim and its dependencies, and ngspice"
	@echo "make clean  remove what the set-up and the runs made"

system:
	@sh tools/install-system.sh

browser:
	@sh tools/install-system.sh browser

$(BIN)/.ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

venv: system $(BIN)/.ready

demo: venv
	$(BIN)/norsim eval-network --network digits-cnn --dataset digits --backend macro --out runs/demo-macro
	$(BIN)/norsim eval-network --network digits-cnn --dataset digits --images 50 --backend ngspice --out runs/demo \
		--compare runs/demo-macro
	$(BIN)/norsim report runs/demo-macro

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vermin --quiet --no-tips --target=3.10- --violations norsim
	$(BIN)/mypy
	$(BIN)/lint-imports

test: browser check
	$(BIN)/python -m pytest

docs: venv
	$(BIN)/python -m sphinx -W --keep-going -E -q -b html -d build/doctrees docs build/site

bench: venv
	$(BIN)/python -m benchmarks

# DATA is the folder of CIFAR-10; runs that have finished before are kept, so it can be interrupted.
results: venv
	$(BIN)/python -m results $(if $(DATA),--data $(DATA))

fuzz: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	$(BIN)/python -m fuzz

soak: venv
	NORSIM_KILLS=200 $(BIN)/python -m pytest tests/commands/test_resume.py

dist: venv
	$(BIN)/python tools/dist.py

clean:
	rm -rf $(VENV) runs build dist *.egg-info
