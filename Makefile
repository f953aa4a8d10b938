# `make demo` and `make test` work on a fresh clone; ./setup says what is done to the machine.
PYTHON := .venv/bin/python

.PHONY: demo test setup check bench clean

demo: setup
	.venv/bin/testbed offload

test: setup
	@./setup box
	@$(PYTHON) -m pytest; code=$$?; echo "pytest: exit code $$code"; exit $$code

setup:
	@./setup packages python kernel

check:
	@./setup packages python
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	.venv/bin/codespell

bench: setup
	$(PYTHON) -m benchmarks

# Results and the kernels in the user's cache stay.
clean:
	rm -rf .venv *.egg-info build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
