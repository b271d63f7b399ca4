"""Render the example images: a small ray-traced scene and four distortions of it.

    python -m examples.make_images

The distortions are chosen so that people and PSNR disagree: the shift moves everything by two pixels, which people
hardly see and PSNR punishes most; the blur is plain to see and PSNR forgives it.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lpips_lite import LPIPS
from lpips_lite.files.drawing import heatmap
from lpips_lite.files.heatmap import pair_labels
from lpips_lite.files.pairing import Pair
from lpips_lite.votes.distort import distort

FOLDER = Path(__file__).parent / "images"
SIDE, SAMPLES = 256, 3  # pixels, and rays per pixel along each axis
LIGHT = np.array([-0.5, 0.8, -0.4]) / np.linalg.norm([-0.5, 0.8, -0.4])
SPHERES = (  # centre, radius, colour, share that is mirrored
    ((-1.1, 0.0, 4.2), 1.0, (0.85, 0.25, 0.20), 0.15),
    ((0.95, -0.25, 3.4), 0.75, (0.95, 0.95, 0.95), 0.75),
    ((0.1, -0.65, 2.5), 0.35, (0.20, 0.45, 0.85), 0.10),
    ((2.2, 0.4, 6.0), 1.4, (0.25, 0.65, 0.35), 0.10),
)
FLOOR = -1.0


def noise(u: np.ndarray, v: np.ndarray, octaves: int = 5) -> np.ndarray:
    """Return smooth pseudo-random values in about [0, 1] at points of a plane."""
    total = np.zeros_like(u)
    for octave in range(octaves):
        scale = 2.0**octave
        total += np.sin(3.1 * scale * u + 1.7 * octave + 2 * np.sin(2.3 * scale * v)) / scale
        total += np.sin(2.7 * scale * v + 0.9 * octave + 2 * np.sin(3.3 * scale * u)) / scale
    return 0.5 + total / 8


def sky(direction: np.ndarray) -> np.ndarray:
    """Return the colour of rays (R, 3) that hit nothing."""
    height = np.clip(direction[:, 1:2], 0, 1)
    clear = (1 - height) * np.array([0.80, 0.87, 0.95]) + height * np.array([0.25, 0.45, 0.80])
    cover = noise(direction[:, :1] / (height + 0.3) * 1.5, direction[:, 2:3] / (height + 0.3) * 1.5)
    cover = np.clip(2.5 * cover - 1.2, 0, 1) * np.clip(4 * height, 0, 1)
    color: np.ndarray = clear * (1 - cover) + cover
    return color


def floor(points: np.ndarray) -> np.ndarray:
    """Return the colour of points (R, 3) on a floor of wooden and stone tiles."""
    x, z = points[:, :1], points[:, 2:]
    wood = np.array([0.62, 0.42, 0.25]) * (0.35 + 1.1 * noise(0.9 * x, 14 * z))
    stone = np.array([0.62, 0.62, 0.60]) * (0.25 + 1.3 * noise(6 * x, 6 * z))
    return np.where((np.floor(x) + np.floor(z)) % 2 == 0, wood, stone)


def nearest_hit(origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each ray its distance to what it meets first, and which: a sphere's number, -1 floor, -2 sky."""
    distance, which = np.full(len(origin), np.inf), np.full(len(origin), -2)
    with np.errstate(divide="ignore", invalid="ignore"):
        down = (FLOOR - origin[:, 1]) / direction[:, 1]
    hit = down > 1e-4
    distance[hit], which[hit] = down[hit], -1
    for number, (centre, radius, _, _) in enumerate(SPHERES):
        offset = origin - np.array(centre)
        b = (offset * direction).sum(1)
        discriminant = b**2 - (offset**2).sum(1) + radius**2
        near = -b - np.sqrt(np.maximum(discriminant, 0))
        hit = (discriminant > 0) & (near > 1e-4) & (near < distance)
        distance[hit], which[hit] = near[hit], number
    return distance, which


def trace(origin: np.ndarray, direction: np.ndarray, bounces: int = 2) -> np.ndarray:
    """Return the colour (R, 3) that rays see."""
    distance, which = nearest_hit(origin, direction)
    color = sky(direction)
    for number in range(-1, len(SPHERES)):
        hit = which == number
        if not hit.any():
            continue
        points = origin[hit] + distance[hit, None] * direction[hit]
        if number < 0:
            normal, base, mirrored = np.broadcast_to([0.0, 1.0, 0.0], points.shape), floor(points), 0.06
        else:
            centre, radius, tint, mirrored = SPHERES[number]
            normal = (points - np.array(centre)) / radius
            base = np.array(tint) * (0.45 + 1.0 * noise(6 * normal[:, :1], 6 * normal[:, 1:2]))
        start = points + 1e-3 * normal
        lit = nearest_hit(start, np.broadcast_to(LIGHT, start.shape))[1] == -2
        shade = 0.30 + 0.75 * np.clip(normal @ LIGHT, 0, 1) * lit
        seen = base * shade[:, None]
        if bounces:
            reflected = direction[hit] - 2 * (direction[hit] * normal).sum(1, keepdims=True) * normal
            seen = (1 - mirrored) * seen + mirrored * trace(start, reflected, bounces - 1)
        fog = np.exp(-0.03 * distance[hit, None])
        color[hit] = fog * seen + (1 - fog) * np.array([0.80, 0.87, 0.95])
    return color


def render() -> torch.Tensor:
    """Return the scene, (1, 3, SIDE, SIDE) in [0, 1]."""
    fine = SIDE * SAMPLES
    axis = (np.arange(fine) + 0.5) / fine * 2 - 1
    across, up = np.meshgrid(axis, -axis)
    direction = np.stack([0.62 * across, 0.62 * up - 0.08, np.ones_like(across)], axis=-1).reshape(-1, 3)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    color = trace(np.broadcast_to([0.0, 0.25, -1.0], direction.shape), direction)
    color = np.clip(color, 0, 1).reshape(SIDE, SAMPLES, SIDE, SAMPLES, 3).mean(axis=(1, 3)) ** (1 / 1.3)
    return torch.from_numpy(color).permute(2, 0, 1)[None].float()


def main() -> None:
    """Write scene.png, its four distortions, and the heatmap of one of them."""
    scene = render().mul(255).round().div(255)
    images = {"scene": scene}
    for name, kind, level in (
        ("blur", "gaussian_blur", 0.5),
        ("jpeg", "jpeg", 0.85),
        ("noise", "white_noise", 0.5),
        ("shift", "shift", 0.6),
    ):
        generator = torch.Generator().manual_seed(4)
        images[f"scene_{name}"] = distort(scene, kind, torch.tensor([level]), generator)
    FOLDER.mkdir(exist_ok=True)
    for name, image in images.items():
        pixels = image[0].mul(255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(FOLDER / f"{name}.png", optimize=True)
    metric, jpeg = LPIPS("lite"), images["scene_jpeg"]
    pair = Pair(FOLDER / "scene.png", FOLDER / "scene_jpeg.png", "scene_jpeg")
    labels = pair_labels(pair, "lite", metric(jpeg, scene).item(), overlay=False)
    picture = heatmap(metric.distance_map(jpeg, scene)[0, 0], jpeg[0], scene[0], labels)
    picture.save(FOLDER.parent / "heatmap.png", optimize=True)


if __name__ == "__main__":
    main()
