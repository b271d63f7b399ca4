"""Time contenders in one run, in turn (A B C A B C …), so that other load on the machine affects all equally."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lpips_lite.terminal import progress


class Result(NamedTuple):
    """The results of one run, to check that all contenders compute the same."""

    value: float
    gradient_norm: float | None = None


def outcome(distance: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, backward: bool) -> Result:
    """Compute a mean distance, and, if `backward`, its gradient with respect to x."""
    if not backward:
        with torch.no_grad():
            return Result(distance(x, y).float().mean().item())
    x = x.detach().requires_grad_()
    value = distance(x, y).float().mean()
    (gradient,) = torch.autograd.grad(value, x)
    return Result(value.item(), gradient.norm().item())


def interleave(
    contenders: Mapping[str, Callable[[], Result | None]], repeats: int, device: str = "cpu", title: str = "timing"
) -> tuple[dict[str, list[float]], dict[str, Result | None]]:
    """Run all contenders in turn: one round to warm up, then `repeats` rounds.

    Returns:
        The seconds of each round, and the last result, by contender.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    results: dict[str, Result | None] = {}
    for _ in progress(range(repeats + 1), title):
        for name, run in contenders.items():
            _wait(device)
            start = time.perf_counter()
            results[name] = run()
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}, results


def ratio(of: Sequence[float], to: Sequence[float]) -> str:
    """Return how many times as fast as `to` `of` is: the median, smallest and largest ratio of the rounds."""
    ratios = [b / a for a, b in zip(of, to, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the median in milliseconds."""
    return f"{1000 * statistics.median(seconds):.4g}"


def shown(result: Result | None) -> dict[str, str]:
    """Return the columns of a result."""
    value, norm = result or (None, None)
    return {"value": "" if value is None else f"{value:.6g}", "gradient": "" if norm is None else f"{norm:.4g}"}


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the settings and versions that the numbers depend on."""
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else "none"
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    return {
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "tf32": f"matmul {tf32[0]}, cudnn {tf32[1]}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "lpips", "torchmetrics", "piq")},
    }


def report(rows: Sequence[Mapping[str, Any]], setting: Mapping[str, str], style: str) -> str:
    """Format rows with the environment above them, as Markdown or JSON."""
    if style == "json":
        return json.dumps({"environment": dict(setting), "rows": list(rows)}, indent=2)
    head = list(rows[0])
    lines = ["; ".join(f"{key}: {value}" for key, value in setting.items()), ""]
    lines += [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(str(row[key]) for key in head)} |" for row in rows])


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _processor() -> str:
    info = Path("/proc/cpuinfo")  # if it exists; `platform` often does not know
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
