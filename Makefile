# Two commands set everything up: `make report` and `make test`.

CORES ?= 8
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# The newest Python on the path that will do; without one the name python3 stays, and is refused.
PYTHON ?= $(or $(firstword $(foreach version,3.13 3.12 3.11,$(shell command -v python$(version)))),python3)

.PHONY: report test clean

report: $(VENV)/installed
	snakemake --cores $(CORES) --quiet all
	@printf 'HTML  %s\nPDF   %s\n' results/default/report/index.html results/default/report/report.pdf

test: $(VENV)/installed
	pytest

clean:
	rm -rf results .snakemake

$(VENV)/installed: workflow/envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'error: Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
