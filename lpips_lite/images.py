"""Checks of shape, dtype and range that a pair of image batches must pass before anything is computed.

`towers.py` takes the checked batches. Image files are read in `files/reading.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor

RangeCheck = Literal["auto", "always", "never"]
Checked = set[tuple[torch.Size, torch.dtype, float]]  # shapes, dtypes and peaks that passed on an accelerator

TARGET_SLACK = 1e-3  # y is a real image, so only rounding may take it out of [0, 1]
INPUT_SLACK = 0.5  # x may be optimised and overshoot
LOOKS_LIKE_BYTES = 8  # values from here on look like 0…255


def to_float(image: Tensor) -> Tensor:
    """Turn uint8 in [0, 255] into float32 in [0, 1]; floats stay as they are."""
    return image.float().div_(255) if image.dtype == torch.uint8 else image


def to_common(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors in the wider of their dtypes, which is at least float32."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype)


def gradients_wanted(*tensors: Tensor) -> bool:
    """Return whether gradients are to flow back to any of these tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def numbers_like(tensor: Tensor, numbers: Sequence[object]) -> Tensor:
    """Return constants in the dtype and on the device of a tensor; old vmaps do not support `Tensor.new_tensor`."""
    return torch.tensor(numbers, dtype=tensor.dtype, device=tensor.device)


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off: comparing needs at least float32; only towers may run in half precision."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


def check_for_tower(x: Tensor, y: Tensor, check_range: RangeCheck, min_side: int) -> None:
    """Check a pair as `LPIPS` does, for a baseline that reads a tower.

    Raises:
        TypeError, ValueError: Same as `check_pair`; ValueError also if `check_range` or a value is wrong.
    """
    check_pair(x, y, min_side)
    check_values_of_pair({"x": x, "y": y}, check_range, checked_by_functions)


def prepare_template(image: Tensor, template: Tensor, check_range: RangeCheck) -> tuple[Tensor, Tensor]:
    """Check an image and a template, which may be smaller, with three channels or one; return floats of one dtype.

    Raises:
        TypeError, ValueError: Same as `check_pair`; ValueError if the template does not fit into the image.
    """
    check_image(image, "image", channels=(3, 1))
    check_image(template, "template", channels=(3, 1))
    if image.shape[1] != template.shape[1]:
        raise ValueError(f"template has {template.shape[1]} channels; expected image's {image.shape[1]}")
    if image.shape[0] != template.shape[0]:
        raise ValueError(f"template has {template.shape[0]} rows; expected image's {image.shape[0]}")
    if template.shape[2] > image.shape[2] or template.shape[3] > image.shape[3]:
        sides = f"{tuple(template.shape[2:])}; expected at most those of image, {tuple(image.shape[2:])}"
        raise ValueError(f"template has sides {sides}")
    if image.device != template.device:
        raise ValueError(f"template is on {template.device}; expected image's device {image.device}")
    check_values_of_pair({"image": image, "template": template}, check_range, checked_by_functions)
    return to_common(to_float(image), to_float(template))


checked_by_functions: Checked = set()  # shared by all functions, which have no state


def check_values_of_pair(
    named: Mapping[str, Tensor], check_range: RangeCheck, checked: Checked, peak: float = 1.0
) -> None:
    """Check the values of an image, which may overshoot, and of its reference, if values are to be read.

    Raises:
        ValueError: Same as `check_values` and `values_wanted`.
    """
    x, *_ = named.values()
    if values_wanted(check_range, x, checked, peak):
        for (name, image), slack in zip(named.items(), (INPUT_SLACK, TARGET_SLACK), strict=False):
            check_values(image, name, slack * peak, high=peak)
        checked.add((x.shape, x.dtype, peak))


def values_wanted(check_range: RangeCheck, x: Tensor, checked: Checked, peak: float = 1.0) -> bool:
    """Return whether values are to be read: always on a CPU; on an accelerator until one call of a shape has passed.

    Raises:
        ValueError: If `check_range` is not "auto", "always" or "never".
    """
    if check_range not in ("auto", "always", "never"):
        raise ValueError(f"check_range={check_range!r}: expected 'auto', 'always' or 'never'")
    if check_range == "never" or torch.compiler.is_compiling() or x.is_meta:  # "meta" has no values
        return False
    if check_range == "always" or x.device.type == "cpu":
        return True
    return (x.shape, x.dtype, peak) not in checked


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor that `torch.func` transforms wrap; under vmap it includes the mapped dimension."""
    while is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return tensor.detach()


def shrinking_factor(images: Tensor) -> int:
    """Return the factor by which the authors of SSIM and FSIM shrink images first: `max(1, round(min(M, N) / 256))`.

    As in MATLAB, halves are rounded up; Python would round them to the even number.
    """
    return max(1, (2 * min(images.shape[2:]) + 256) // 512)


def check_image(image: Tensor, name: str, min_side: int = 1, channels: Sequence[int] = (3,)) -> None:
    """Check type, dtype, layout and size of one batch; reads no values.

    Raises:
        TypeError: If `image` is not a tensor of uint8 or floating dtype.
        ValueError: If it is not (N, C, H, W) with C among `channels`, N ≥ 1 and sides of at least `min_side`.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"{name} is a {type(image).__name__}; expected a torch.Tensor (N, 3, H, W)")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"{name} has dtype {image.dtype}; expected floats in [0, 1] or uint8 in [0, 255]")
    shape = tuple(image.shape)
    if image.ndim != 4:
        hint = f"; add the batch dimension with {name}[None]" if image.ndim == 3 else ""
        raise ValueError(f"{name} has shape {shape}; expected (N, 3, H, W){hint}")
    if shape[1] not in channels:
        hint = "expected 3 (RGB)" if len(channels) == 1 else "expected 3 (RGB) or 1 (grayscale)"
        if shape[3] == 3:
            hint += f"; the layout looks like (N, H, W, 3): use {name}.permute(0, 3, 1, 2)"
        elif shape[1] == 1:
            hint += f"; for grayscale use {name}.expand(-1, 3, -1, -1)"
        raise ValueError(f"{name} has shape {shape}, {shape[1]} channels; {hint}")
    if shape[0] == 0:
        raise ValueError(f"{name} has shape {shape}; expected at least one image")
    if min(shape[2:]) < min_side:
        raise ValueError(f"{name} is {shape[2]}×{shape[3]}; expected at least {min_side}×{min_side}")


def check_pair(x: Tensor, y: Tensor, min_side: int = 1, channels: Sequence[int] = (3,)) -> None:
    """Check both images with `check_image`, then that shape and device agree.

    Raises:
        TypeError, ValueError: Same as `check_image`; ValueError if shapes or devices differ.
    """
    check_image(x, "x", min_side, channels)
    check_image(y, "y", min_side, channels)
    if x.shape != y.shape:
        raise ValueError(f"y has shape {tuple(y.shape)}; expected x's shape {tuple(x.shape)}")
    if x.device != y.device:
        raise ValueError(f"y is on {y.device}; expected x's device {x.device}")


def check_values(image: Tensor, name: str, slack: float, low: float = 0.0, high: float = 1.0) -> None:
    """Check that floats lie in [low − slack, high + slack]; uint8 always passes. Waits for an accelerator.

    Raises:
        ValueError: If a value is NaN, infinite or out of range; the message names the likely mistake.
    """
    if image.dtype == torch.uint8:
        return
    smallest, largest = (bound.item() for bound in unwrapped(image).aminmax())
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        raise ValueError(f"{name} has NaN or infinite values; expected floats in [{low:g}, {high:g}]")
    if smallest >= low - slack and largest <= high + slack:
        return
    span = f"{name} has values from {smallest:.4g} to {largest:.4g}; expected [{low:g}, {high:g}]"
    raise ValueError(f"{span}: {_likely_mistake(name, smallest, largest, low, high)}")


def _likely_mistake(name: str, smallest: float, largest: float, low: float, high: float) -> str:
    """Guess a mistake only if the values clearly look like it, since wrong advice leads to plausible wrong numbers."""
    clamp = f"use {name}.clamp({low:g}, {high:g})"
    if high == 1 and smallest >= low - INPUT_SLACK and LOOKS_LIKE_BYTES <= largest <= 255 * (1 + INPUT_SLACK):
        return f"values look like 0…255; divide by 255, or pass uint8 for {name}"
    if (low, high) == (0, 1) and -1 - TARGET_SLACK <= smallest <= -0.5 and 0.5 <= largest <= 1 + TARGET_SLACK:
        return f"values look like −1…1; use ({name} + 1) / 2, or lpips_lite.compat.LPIPS"
    if smallest >= low - INPUT_SLACK * high and largest <= (1 + INPUT_SLACK) * high:
        return f"values overshoot, as after bicubic or Lanczos resizing; {clamp}"
    if high != 1 or (smallest >= low - INPUT_SLACK and largest >= LOOKS_LIKE_BYTES):
        return f"values seem to have another peak; divide by it, or pass peak= if the function takes it, or {clamp}"
    return f"values are unbounded, like those of a network without a final sigmoid; {clamp}"


def equal_outside(x: Tensor, y: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return a pair as floats in which x shows what y does wherever a mask is 0, so that nothing there counts."""
    x, y = to_common(to_float(x), to_float(y))
    return torch.where(mask > 0, x, y), y


def check_mask(mask: Tensor, x: Tensor, check_range: RangeCheck, checked: Checked, where: str = "") -> None:
    """Check that a mask fits images `x`: shape (N, 1, H, W), same device; check its values if they are to be read.

    Args:
        mask: What may be a mask.
        x: Images.
        check_range: When values are read.
        checked: What was found good on an accelerator.
        where: Which part of a mask it is, for the message that nothing is left there.

    Raises:
        ValueError: If it does not fit, has negative or non-finite values, or a row without a positive one.
    """
    expected = (x.shape[0], 1, x.shape[2], x.shape[3])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; expected (N, 1, H, W) = {expected}")
    if mask.device != x.device:
        raise ValueError(f"mask is on {mask.device}; expected x's device {x.device}")
    if not values_wanted(check_range, mask, checked):
        return
    totals = unwrapped(mask.float().sum(dim=(1, 2, 3)))
    if not (unwrapped(mask).min() >= 0 and torch.isfinite(totals).all()):
        raise ValueError("mask has negative, NaN or infinite values; expected values ≥ 0")
    if not totals.all():
        rows = (totals == 0).nonzero().squeeze(1).tolist()
        raise ValueError(f"mask is empty for rows {rows}{where}; expected a positive value in each")
    checked.add((mask.shape, mask.dtype, 1.0))
