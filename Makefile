# Main targets: `make demo` and `make test`. Both install their dependencies first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes of `make test`, one more than cores: some tests wait for simulators or for other processes.
PROCESSES ?= 3
.DEFAULT_GOAL := help
.PHONY: help venv system browser demo test quick check kernels docs bench profile results fuzz soak dist clean

help:
	@echo "make demo   the digits network on NOR-flash arrays: all test images with macro, 50 with ngspice, and a report"
	@echo "make test   all tests, type checks and style checks"
	@echo "make quick  style, types, and the fast tests of the files that differ from the main branch"
	@echo "make docs   the documentation as an offline site in build/site"
	@echo "make bench  measures accuracy, speed and memory of the solvers; writes docs/performance.md"
	@echo "make profile NETWORK=N  where the time of eval-network goes, by phase and function; ARGS adds options"
	@echo "make results DATA=DIR  accuracies of all shipped networks, part by part, with CIFAR-10 in DIR; writes docs/results.md"
	@echo "make fuzz   coverage-guided fuzzing of all file readers with 100,000 broken files"
	@echo "make soak   long tests: kills runs at 200 random moments, and all that is marked as soak"
	@echo "make dist   builds wheel and sdist, installs each in a new environment and runs it"
	@echo "make venv   installs norsim and its dependencies in $(VENV), and ngspice"
	@echo "make clean  removes $(VENV), runs and build files"

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
	$(BIN)/norsim eval-network --network digits-cnn --dataset digits --backend macro --overwrite \
		--out runs/demo-macro
	$(BIN)/norsim eval-network --network digits-cnn --dataset digits --images 50 --backend ngspice --overwrite --out runs/demo \
		--compare runs/demo-macro
	$(BIN)/norsim report runs/demo-macro

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vermin --quiet --no-tips --target=3.10- --violations norsim
	$(BIN)/mypy
	$(BIN)/lint-imports

# A run that compiles the kernels of all solvers, so that the processes of the tests find them compiled.
kernels: venv
	rm -rf build/kernels
	$(BIN)/norsim sweep --network digits-cnn --images 20 --vary encoding=bit-serial,linear-pair --set adc.noise=1 \
		--set "silicon.reading={scale: 50 nA, knee: 100 nA}" --no-cache --quiet --out build/kernels

# Each process of the tests has one thread (tests/conftest.py). Compiling takes one core, and so do the checks.
test: browser
	+$(MAKE) --jobs 2 check kernels
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

quick: venv
	$(BIN)/python tools/quick_tests.py

docs: venv
	$(BIN)/python -m sphinx -W --keep-going -E -q -b html -d build/doctrees docs build/site

bench: venv
	$(BIN)/python -m benchmarks.vacask
	$(BIN)/python -m benchmarks.macros
	$(BIN)/python -m benchmarks

# For example make profile NETWORK=resnet20 DATA=DIR ARGS="--images 100".
profile: venv
	$(BIN)/python -m benchmarks.profiling --network $(or $(NETWORK),digits-cnn) $(if $(DATA),--data $(DATA)) $(ARGS)

# DATA is the folder of CIFAR-10. Finished parts are kept, so an interrupted `make results` continues. ARGS names parts, or
# adds options: make results ARGS=--list says what is left, and how long it takes.
results: venv
	$(BIN)/python -m results $(if $(DATA),--data $(DATA)) $(ARGS)

fuzz: venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	$(BIN)/python -m fuzz

soak: venv
	NORSIM_KILLS=200 $(BIN)/python -m pytest -m "soak or not soak" tests/commands/test_resume.py
	$(BIN)/python -m pytest -m soak --ignore tests/commands/test_resume.py

dist: venv
	$(BIN)/python tools/dist.py

clean:
	rm -rf $(VENV) runs build dist *.egg-info
