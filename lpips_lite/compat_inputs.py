"""The images that `compat.LPIPS` accepts: the shapes of `lpips`, and values that are not clearly a mistake."""

from __future__ import annotations

import math

from torch import Tensor

from lpips_lite.images import LOOKS_LIKE_BYTES, TARGET_SLACK, check_image, unwrapped


def batches(in0: Tensor, in1: Tensor, min_side: int) -> tuple[Tensor, Tensor]:
    """Return both sides as (N, 3, H, W), or one of them as (1, 3, H, W).

    Raises:
        TypeError: If one is not a tensor of floats.
        ValueError: If the shapes, sizes or devices do not match.
    """
    x, y = _batch(in0, "in0", min_side), _batch(in1, "in1", min_side)
    if x.shape[2:] != y.shape[2:] or (len(x) != len(y) and 1 not in (len(x), len(y))):
        found, expected = tuple(in1.shape), tuple(in0.shape)
        raise ValueError(f"in1 has shape {found}; expected in0's, {expected}, or the same with a batch of one")
    if x.device != y.device:
        raise ValueError(f"in1 is on {y.device}; expected in0's device {x.device}")
    return x, y


def _batch(image: Tensor, name: str, min_side: int) -> Tensor:
    """Return images as (N, 3, H, W): add a missing batch dimension, and repeat a single channel."""
    if isinstance(image, Tensor):
        if not image.is_floating_point():
            raise TypeError(
                f"{name} has dtype {image.dtype}; expected floats in [-1, 1]: for bytes use {name} / 127.5 - 1, or "
                f"lpips_lite.LPIPS, which takes uint8"
            )
        image = image[(None,) * (4 - image.ndim)]
        if image.ndim == 4 and image.shape[1] == 1:
            image = image.expand(-1, 3, -1, -1)
    check_image(image, name, min_side)
    return image


def check_values(x: Tensor, y: Tensor, normalize: bool) -> str | None:
    """Return a warning if values look like another range than the declared one; unbounded values are not judged.

    Raises:
        ValueError: If a value is NaN or infinite, or an image looks like 0…255: no negative value, and large ones.
    """
    expected, from_bytes = ("[0, 1]", "{} / 255") if normalize else ("[-1, 1]", "{} / 127.5 - 1")
    doubt, smallest = None, []
    for name, image in (("in0", x), ("in1", y)):
        low, high = (bound.item() for bound in unwrapped(image).aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} has NaN or infinite values; expected floats in {expected}")
        span = f"{name} has values from {low:.4g} to {high:.4g}; expected {expected}"
        if low >= 0 and high >= LOOKS_LIKE_BYTES:
            raise ValueError(f"{span}: values look like 0…255; use {from_bytes.format(name)}")
        if high >= max(LOOKS_LIKE_BYTES, -4 * low):
            doubt = f"{span}: do they overshoot 0…255, as after resizing? Then use {from_bytes.format(name)}"
        if normalize and -1 - TARGET_SLACK <= low <= -0.5 and 0.5 <= high <= 1 + TARGET_SLACK:
            doubt = f"{span}: are they in [-1, 1]? Then leave normalize=True out"
        smallest.append(low)
    if not normalize and min(smallest) >= 0:
        doubt = (
            "in0 and in1 have no negative value, but [-1, 1] is expected: are they in [0, 1]? Then pass "
            "normalize=True, or use lpips_lite.LPIPS, which takes [0, 1]."
        )
    return doubt
