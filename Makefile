# `make demo` runs the main job on a simulated screen; `make test` checks everything. Both install what they need.
.PHONY: install demo test agreement lint clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/gensim simulate-screen --out runs/demo_screen.h5ad --cells 10000 --genes 300 --overwrite
	$(BIN)/accelerate launch train.py --config configs/demo.yaml --overwrite
	$(BIN)/python sample.py --run runs/demo --out runs/demo_cells.zarr --overwrite
	$(BIN)/gensim evaluate runs/demo_cells.zarr --truth runs/demo/held_out.h5ad --run runs/demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python benchmarks/results_table.py --check

agreement: install  # tests against the packages of others, which nothing else needs
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[agreement]'
	$(BIN)/python -m pytest tests/test_agreement.py tests/test_distance_variants.py

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf .venv runs build *.egg-info
