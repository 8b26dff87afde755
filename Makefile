# Two commands for a fresh machine; each makes its own virtual environment.
PYTHON ?= python3
.PHONY: capture test lint clean

capture: .venv/ready ## install the ground floor (no torch) and capture the packaged sample clip
	.venv/bin/vitruvian capture src/vitruvian/assets/sample.mp4 -o out/sample

test: .venv-dev/ready ## install everything and pass the tests
	.venv-dev/bin/ruff check src tests benchmarks
	.venv-dev/bin/python -m pytest -n 2

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --upgrade pip
	.venv/bin/pip install --quiet --editable '.[cpu]'
	touch $@

.venv-dev/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet --upgrade pip
	.venv-dev/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	.venv-dev/bin/pip install --quiet --no-deps rtmlib==0.0.16
	touch $@

clean:
	rm -rf .venv .venv-dev out
