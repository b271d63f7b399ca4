"""lpips_lite: the perceptual distance between images, as a loss, a command and a benchmark.

Names are imported when they are first used, so that `compare-images --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpips_lite.baselines.pixel import L2Loss, l2, psnr
    from lpips_lite.baselines.structural import SSIMLoss, ssim
    from lpips_lite.baselines.style import GramLoss, gram_distance, gram_matrix
    from lpips_lite.catalog import METRICS
    from lpips_lite.images import read_image
    from lpips_lite.metric import LPIPS, Encoding, lpips
    from lpips_lite.towers import TOWERS, FeatureTower

__version__ = "0.1.0"

_HOMES = {
    "LPIPS": "metric",
    "Encoding": "metric",
    "lpips": "metric",
    "FeatureTower": "towers",
    "TOWERS": "towers",
    "METRICS": "catalog",
    "read_image": "images",
    "l2": "baselines.pixel",
    "psnr": "baselines.pixel",
    "L2Loss": "baselines.pixel",
    "ssim": "baselines.structural",
    "SSIMLoss": "baselines.structural",
    "gram_matrix": "baselines.style",
    "gram_distance": "baselines.style",
    "GramLoss": "baselines.style",
}

__all__ = [
    "LPIPS",
    "METRICS",
    "TOWERS",
    "Encoding",
    "FeatureTower",
    "GramLoss",
    "L2Loss",
    "SSIMLoss",
    "__version__",
    "gram_distance",
    "gram_matrix",
    "l2",
    "lpips",
    "psnr",
    "read_image",
    "ssim",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lpips_lite' has no attribute {name!r}")
    return getattr(import_module(f"lpips_lite.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
