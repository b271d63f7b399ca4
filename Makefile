# Uses .venv if there is one; `make check` is what CI runs.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

# Make weights for lite: make lite PHOTOS=photos.tar ALEX=alexnet.pth JUDGMENTS="mucped23 tid2013"
DISTILLED = build/distilled.safetensors
TAUGHT_ON = --photos $(PHOTOS) --alex $(ALEX)

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
		--start $(DISTILLED) --data-weights mucped23=10,tid2013=5 --out build/lite.safetensors
