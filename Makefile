# Uses .venv if there is one; `make check` is what CI runs.
PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,python3)

# Make weights for lite: make lite PHOTOS=photos.tar ALEX=alexnet.pth JUDGMENTS="mucped23 tid2013"
TAUGHT_ON = --photos $(PHOTOS) --alex $(ALEX)
JUDGED = $(JUDGMENTS) --method-pattern "mucped23=dist/{method}/*" --data-weights mucped23=7,tid2013=3
DISTILLED = build/distilled.safetensors

.PHONY: format lint types test check docs lite

format:
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m codespell_lib

types:
	$(PYTHON) -m mypy

test: # in as many processes as there are cores, of one thread each
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n logical --maxprocesses 4

check: lint types test

docs: # build/site; needs pip install -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build

lite:
	$(PYTHON) -m calibration.distill $(TAUGHT_ON) --lite calibration/results/lite-0.2-distilled.safetensors \
		--out $(DISTILLED)
	$(PYTHON) -m calibration.cross_validate $(JUDGED) $(TAUGHT_ON) --start $(DISTILLED) --out build/folds
	$(PYTHON) -m calibration.tune $(JUDGED) $(TAUGHT_ON) --start $(DISTILLED) --held-out build/folds \
		--slope-of mucped23 --out build/lite.safetensors
