"""The examples run, print a table and save a picture; what they learn from is as they say."""

import importlib

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from examples import balloons, super_resolution, which_is_closer
from examples.balloons import make_balloons
from examples.color_classes import CELL, ColorClasses, to_lab
from examples.colorize import to_gray
from examples.houses import CLASSES, DOOR, ROOF, SIDE, WALL, color, make_houses, paint
from examples.styles import STYLES, make_style
from tests.conftest import ROOT

STEPS = ("--steps", "2")
SCRIPTS = {
    "which_is_closer": (),
    "super_resolution": STEPS,
    "colorize": STEPS,
    "style_transfer": (*STEPS, "--side", "96"),
    "recover": STEPS,
    "translate": STEPS,
}
GALLERY, PAGE = ROOT / "examples/gallery", ROOT / "docs/gallery.md"


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_prints_a_table_and_saves_a_picture(name, tmp_path):
    main = importlib.import_module(f"examples.{name}").main
    picture = tmp_path / "picture.png"
    result = CliRunner().invoke(main, [*SCRIPTS[name], "--out", str(picture)], catch_exceptions=False)
    assert result.exit_code == 0
    heading, *rows, written = result.output.splitlines()
    assert "↓" in heading + rows[-1]
    assert len(rows) >= 2
    assert written == f"wrote {picture}"
    with Image.open(picture) as image:
        assert min(image.size) >= 200
        assert np.asarray(image.convert("L")).std() > 20  # not blank


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_is_short_and_in_the_gallery(name):
    assert len((ROOT / f"examples/{name}.py").read_text().splitlines()) <= 150
    page = PAGE.read_text()
    assert f"`python -m examples.{name}" in page
    assert f"../examples/gallery/{name}.png" in page
    assert (GALLERY / f"{name}.png").exists()


def test_the_gallery_holds_small_files_of_these_examples_only():
    files = list(GALLERY.iterdir())
    assert {file.stem for file in files} == set(SCRIPTS)
    assert sum(file.stat().st_size for file in files) < 3e6


def test_metrics_disagree_on_which_is_closer_as_the_picture_and_the_page_say():
    copies = which_is_closer.copies()
    found = which_is_closer.answers(*copies)
    assert {name: which_is_closer.BEST[name](values) == values[1] for name, values in found.items()} == {
        "MSE ↓": True,
        "SSIM ↑": True,
        "LPIPS-lite ↓": False,
    }
    page = PAGE.read_text()
    for name, (turned, blurred) in found.items():
        assert f"| {name} | {turned:.4f} | {blurred:.4f} |" in page
    file = GALLERY / "which_is_closer.png"
    assert file.stat().st_size < 300_000
    pixels = np.asarray(Image.open(file).convert("RGB"))
    assert pixels.shape[1] == 800
    drawn = np.asarray(which_is_closer.draw(*copies, found))
    photographs = slice(which_is_closer.HEAD, which_is_closer.HEAD + which_is_closer.SIDE)  # fonts differ, these do not
    assert np.abs(pixels[photographs].astype(int) - drawn[photographs]).max() <= 1


def test_the_parts_shown_are_not_learnt_from(monkeypatch):
    def marked(name):
        image, (top, left) = super_resolution.photo(name).clone(), super_resolution.PARTS[name]
        image[..., top : top + super_resolution.SHOWN, left : left + super_resolution.SHOWN] = torch.nan
        return image

    photos = {name: marked(name) for name in super_resolution.PARTS}
    monkeypatch.setattr(super_resolution, "photo", photos.get)
    generator = torch.Generator().manual_seed(0)
    assert all(super_resolution.crops(generator).isfinite().all() for _ in range(50))


@pytest.mark.parametrize("name", STYLES)
def test_a_style_is_a_reproducible_image_of_many_colours(name):
    style = make_style(name, 64)
    assert style.shape == (1, 3, 64, 64)
    assert 0 <= style.min() <= style.max() <= 1
    assert style.std() > 0.1
    assert torch.equal(style, make_style(name, 64))
    assert not torch.equal(style, make_style(name, 64, seed=1))


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


def test_a_gray_picture_of_balloons_does_not_tell_their_colours(monkeypatch):
    scenes = []
    for shares in np.eye(len(balloons.HUES)):
        monkeypatch.setattr(balloons, "SHARES", shares)
        scenes.append(make_balloons(4, seed=1))
    (red, undecided), *others = scenes
    assert undecided.float().mean() > 0.02
    for images, where in others:
        assert torch.equal(where, undecided)
        assert (to_gray(images) - to_gray(red)).abs().max() < 1e-3
        assert ((images - red).abs().amax(1)[where] > 0.1).float().mean() > 0.8  # the others are behind nearer balloons
        assert (images - red).abs().amax(1)[~where].mean() < 0.02


def test_rare_colours_weigh_more_and_the_right_ones_cost_least():
    images = torch.tensor([0.6, 0.3, 0.2]).view(1, 3, 1, 1).expand(1, 3, 8, 8).clone()
    images[..., :2, :2] = torch.tensor([0.2, 0.3, 0.6]).view(3, 1, 1)  # 4 pixels of 64
    lab = to_lab(images)
    classes = ColorClasses(lab)
    assert len(classes) == 2
    common, rare = ((classes.centres - lab[0, at, at, 1:]).norm(dim=1).argmin() for at in (-1, 0))
    assert classes.weights[rare] > 2 * classes.weights[common]
    assert (60 * classes.weights[common] + 4 * classes.weights[rare]) / 64 == pytest.approx(1, abs=1e-3)


def test_colours_survive_being_classes():
    images, _ = make_balloons(2, seed=2)
    lab = to_lab(images)
    classes = ColorClasses(lab)
    near = -torch.cdist(lab[..., 1:].flatten(1, 2), classes.centres).square().view(*lab.shape[:3], -1)
    logits = near.permute(0, 3, 1, 2) / CELL
    decoded = to_lab(classes.decode(logits, lab))
    assert (decoded - lab).norm(dim=-1).mean() < CELL / 2
    assert classes.loss(logits, lab) < classes.loss(logits.roll(1, dims=1), lab)
    assert classes.loss(logits, lab) < classes.loss(torch.zeros_like(logits), lab)
