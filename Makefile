# Two commands set everything up: `make report` and `make test`.

CORES ?= all
FROM ?= report/evidence/full
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The first Python on the path that is new enough. A name on the path may be an empty shim, so each
# is asked for its version.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do $$name -c \
	'import sys; sys.exit(sys.version_info < (3, 11) or print(sys.executable))' 2>/dev/null && break; done)
# A user's settings that would install elsewhere, or keep Python from importing the project.
unexport PIP_TARGET PIP_PREFIX PYTHONSAFEPATH

.PHONY: report paper bundle test slurm-test bench clean

report: $(VENV)/installed
	snakemake --cores $(CORES) --quiet all --rerun-incomplete
	@printf 'HTML  %s\nPDF   %s\n' results/default/report/index.html results/default/report/report.pdf

paper: $(VENV)/installed
	python -m report.paper $(FROM)

bundle: report
	python -m report.bundle results/default

test: $(VENV)/installed
	pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

slurm-test: $(VENV)/installed
	pytest tests/test_slurm.py

bench: $(VENV)/installed
	python -m tests.benchmarks --out results/benchmarks.json

clean:
	rm -rf results .snakemake

$(VENV)/installed: workflow/envs/requirements.txt
	@test -n "$(PYTHON)" || { echo 'error: Python 3.11 or newer is needed, and none is on the path; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/python -m pip install --no-user --quiet --disable-pip-version-check --requirement $<
	@touch $@
