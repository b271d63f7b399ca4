"""The examples run, print a table and save a picture; their scenes are as undecided as they say."""

import importlib

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from examples.colorize import to_gray
from examples.houses import CLASSES, DOOR, ROOF, SIDE, WALL, color, make_houses, paint
from tests.conftest import ROOT

SCRIPTS = ("recover", "super_resolution", "style_transfer", "colorize", "translate")


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_prints_a_table_and_saves_a_picture(name, tmp_path):
    main = importlib.import_module(f"examples.{name}").main
    picture = tmp_path / "picture.png"
    result = CliRunner().invoke(main, ["--steps", "2", "--out", str(picture)], catch_exceptions=False)
    assert result.exit_code == 0
    heading, *rows, written = result.output.splitlines()
    assert "↓" in heading
    assert len(rows) >= 2
    assert written == f"wrote {picture}"
    with Image.open(picture) as image:
        assert min(image.size) >= 200
        assert np.asarray(image.convert("L")).std() > 20  # not blank


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short_and_in_the_gallery(name):
    assert len((ROOT / f"examples/{name}.py").read_text().splitlines()) <= 150
    page = (ROOT / "docs/gallery.md").read_text()
    assert f"`python -m examples.{name}`" in page
    assert f"../examples/gallery/{name}.png" in page
    assert (ROOT / f"examples/gallery/{name}.png").exists()


def test_scenes_are_reproducible_images_with_one_class_a_pixel():
    images, maps = make_houses(5, seed=3)
    assert images.shape == (5, 3, SIDE, SIDE)
    assert 0 <= images.min() <= images.max() <= 1
    assert maps.shape == (5, len(CLASSES), SIDE, SIDE)
    assert torch.equal(maps.sum(1), torch.ones(5, SIDE, SIDE))
    assert all(maps[:, place].any() for place in (WALL, ROOF, DOOR))
    assert torch.equal(images, make_houses(5, seed=3)[0])
    assert not torch.equal(images, make_houses(5, seed=4)[0])


def test_a_gray_scene_does_not_tell_its_colours():
    lumas = [to_gray(torch.from_numpy(color(hue, 0.6, 0.5)).float().view(1, 3, 1, 1)).item() for hue in (0, 0.3, 0.6)]
    assert lumas == pytest.approx([0.5] * 3, abs=1e-3)
    scenes, maps = make_houses(20, seed=5)
    assert scenes.amax(1)[maps[:, (WALL, ROOF, DOOR)].sum(1) > 0].max() < 1  # clipping would make brightness tell
    places = np.full((SIDE, SIDE), ROOF)
    scenes = [torch.from_numpy(paint(places, np.random.default_rng(seed))).permute(2, 0, 1)[None] for seed in range(8)]
    hues = {tuple((scene / to_gray(scene).clamp(min=1e-3))[0, :, 0, 0].round(decimals=1).tolist()) for scene in scenes}
    assert len(hues) == 2
