"""Draw three styles to paint in: stained glass, hatching in ink, and thick brush strokes that follow whirls."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from torch import Tensor

FINE = 2  # factor by which styles are drawn larger than shown
PANE = 44  # pixels, as drawn
GLASS = (
    *("#0b2a6b", "#1453a8", "#2f86d6", "#0d6b5e", "#2aa36b", "#a3142a"),
    *("#d8352f", "#e8891c", "#f5c518", "#5b2a86", "#e9e2c8"),
)
LEAD, PAPER, INK = "#15130f", "#f4ecd8", "#1d2440"
NIGHT = ("#0b1e4f", "#123a82", "#1f5fae", "#3f8bd0", "#86bfe6", "#cfe3ee")
LIGHTS = ("#f2b61c", "#f9d84a", "#fff2a8", "#e8892a")


def rgb(color: str) -> np.ndarray:
    """Return the colour (3,) in [0, 1] of a code like #1453a8."""
    return np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255


def smooth(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise with mean 0 and deviation 1, (H, W), that varies over `scale` pixels."""
    noise = gaussian_filter(rng.standard_normal(shape), scale, mode="wrap")
    return np.asarray((noise - noise.mean()) / noise.std())


def stained_glass(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return panes of coloured glass between dark leads: Voronoi cells of random points."""
    grid = np.mgrid[-2 : side + PANE : PANE, -2 : side + PANE : PANE].reshape(2, -1).T
    panes = grid + rng.uniform(-0.42, 0.42, grid.shape) * PANE
    down, across = np.mgrid[:side, :side]
    wavy = np.stack([down + 2 * smooth((side, side), 8, rng), across + 2 * smooth((side, side), 8, rng)], axis=-1)
    distances, nearest = map(np.asarray, cKDTree(panes).query(wavy, k=2))
    to_lead = (distances[..., 1] - distances[..., 0]) / 2
    glass = np.stack([rgb(color) for color in GLASS])
    colors = glass[rng.integers(len(glass), size=len(panes))]
    light = 1 + 0.10 * smooth((side, side), 3, rng) + 0.12 * smooth((side, side), 14, rng)
    glow = np.clip(0.75 + to_lead / 22, 0, 1.25)  # panes are brightest in their middle
    image = colors[nearest[..., 0]] * (light * glow)[..., None]
    edge = np.clip(to_lead - 2.2, 0, 1)[..., None]
    return np.asarray(image * edge + rgb(LEAD) * (1 - edge))


def hatching(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return an engraving, ink on paper: the darker a place, the wider its lines and the more of them cross."""
    down, across = np.mgrid[:side, :side]
    dark, bend = smooth((side, side), side / 16, rng), smooth((side, side), side / 12, rng)
    ink = np.zeros((side, side))
    for layer, slope in enumerate((0.5, -0.6, 1.2)):
        along = (across * np.sin(slope) + down * np.cos(slope)) / 9 + bend
        wave = np.abs(2 * (along % 1) - 1)  # 0 in the middle of a line, 1 between two
        width = 0.45 + 0.3 * dark - 0.4 * layer + 0.06 * smooth((side, side), 2, rng)
        ink = np.maximum(ink, np.clip(6 * (np.clip(width, 0, 0.75) - wave), 0, 1))
    return rgb(PAPER) * (1 - ink[..., None]) + rgb(INK) * ink[..., None]


def whirls(side: int, rng: np.random.Generator) -> np.ndarray:
    """Return a night sky in thick strokes, which follow the whirls around a few lights."""
    image = Image.new("RGB", (side, side), NIGHT[1])
    down, across = np.mgrid[:side, :side]
    fx, fy = 0.6 + 0 * down, 0.25 * np.sin(across / side * 9)
    near = np.full((side, side), np.inf)
    for x, y in ((0.22, 0.25), (0.70, 0.20), (0.50, 0.62), (0.86, 0.70), (0.15, 0.80)):
        dx, dy = across - x * side, down - y * side
        distance = np.hypot(dx, dy) + 1
        pull = 3 * np.exp(-((distance / (0.16 * side)) ** 2))
        fx, fy = fx - pull * dy / distance, fy + pull * dx / distance
        near = np.minimum(near, distance)
    angle, tone = np.arctan2(fy, fx), smooth((side, side), side / 40, rng)

    draw = ImageDraw.Draw(image)
    for x, y in rng.random((side * 14, 2)) * side:
        place = int(y), int(x)
        if near[place] < side * 0.055 * (1 + 0.3 * rng.standard_normal()):
            color, width = LIGHTS[rng.integers(len(LIGHTS))], rng.integers(4, 8)
        else:
            shade = 2.2 + 1.2 * tone[place] + 0.7 * rng.standard_normal()
            color, width = NIGHT[int(np.clip(shade, 0, len(NIGHT) - 1))], rng.integers(4, 9)
        path = [(x, y)]
        for _ in range(9):
            turn = angle[int(y) % side, int(x) % side]
            x, y = x + 2 * np.cos(turn), y + 2 * np.sin(turn)
            path.append((x, y))
        draw.line(path, fill=color, width=int(width), joint="curve")
    return np.asarray(image) / 255


STYLES = {"stained glass": stained_glass, "ink": hatching, "whirls": whirls}


def make_style(name: str, side: int, seed: int = 0) -> Tensor:
    """Return a style of STYLES, (1, 3, side, side) in [0, 1]."""
    fine = STYLES[name](FINE * side, np.random.default_rng(seed)).clip(0, 1)
    image = fine.reshape(side, FINE, side, FINE, 3).mean(axis=(1, 3))
    return torch.from_numpy(image).permute(2, 0, 1)[None].float()
