# Uses .venv if there is one; `make check` is what CI runs.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

# Make the embedded weights again: make lite PHOTOS=photos.tar TEACHER=alexnet.pth JUDGMENTS="mucped23 tid2013"
DISTILLED = build/distilled.safetensors
TAUGHT_ON = --photos $(PHOTOS) --teacher-tower-weights $(TEACHER)

.PHONY: format lint types test check lite

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest

check: lint types test

lite:
	$(PYTHON) -m calibration.distill $(TAUGHT_ON) --out $(DISTILLED)
	$(PYTHON) -m calibration.tune $(JUDGMENTS) --method-pattern "mucped23=dist/{method}/*" $(TAUGHT_ON) \
		--tower-weights $(DISTILLED) --channel-weights $(DISTILLED) \
		--data-weights mucped23=7,tid2013=3 --version 0.3 --out lpips_lite/data/lite.safetensors
