"""Run the command for tests, in this process or in a separate one, and make images for it."""

import os
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from lpips_lite.cli.main import main
from tests.conftest import ROOT

PROGRAM = [sys.executable, "-m", "lpips_lite"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def noise(path, size=(48, 40), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def noises(folder, *names, size=(20, 18)):
    """Write images of noise, all different."""
    for number, name in enumerate(names):
        noise(folder / name, size, seed=number)


def touch(*names):
    """Make empty files in the working folder."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def run(*arguments):
    """Return exit status, stdout and stderr."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
