"""lpips_lite: the perceptual distance between images, as a loss, a command and a benchmark.

Names are imported when they are first used, so that `compare-images --help` need not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpips_lite.baselines.content import ContentLoss, CRNLoss, content_distance, crn_distance, crn_tower
    from lpips_lite.baselines.phase import FSIMLoss, fsim
    from lpips_lite.baselines.pixel import L1Loss, L2Loss, l1, l2, psnr
    from lpips_lite.baselines.structural import MSSSIMLoss, SSIMLoss, ms_ssim, ssim
    from lpips_lite.baselines.style import GramLoss, gram_distance, gram_matrix
    from lpips_lite.baselines.template import NCCLoss, SSDLoss, ZNCCLoss, match_template, ncc, ssd, zncc
    from lpips_lite.baselines.texture import DISTSLoss, dists, dists_tower, read_dists_weights
    from lpips_lite.catalog import METRICS
    from lpips_lite.comparing import compare
    from lpips_lite.encoding import Encoding
    from lpips_lite.images import read_image
    from lpips_lite.metric import LPIPS, lpips
    from lpips_lite.robust import Jittered, MultiScale
    from lpips_lite.towers import TOWERS, FeatureTower
    from lpips_lite.tracking import LPIPSMetric as LPIPSMetric

__version__ = "0.1.0"

_HOMES = {
    "LPIPS": "metric",
    "Encoding": "encoding",
    "lpips": "metric",
    "FeatureTower": "towers",
    "TOWERS": "towers",
    "METRICS": "catalog",
    "compare": "comparing",
    "LPIPSMetric": "tracking",  # not in __all__: it needs torchmetrics
    "Jittered": "robust",
    "MultiScale": "robust",
    "read_image": "images",
    "l1": "baselines.pixel",
    "l2": "baselines.pixel",
    "psnr": "baselines.pixel",
    "L1Loss": "baselines.pixel",
    "L2Loss": "baselines.pixel",
    "ms_ssim": "baselines.structural",
    "ssim": "baselines.structural",
    "MSSSIMLoss": "baselines.structural",
    "SSIMLoss": "baselines.structural",
    "fsim": "baselines.phase",
    "FSIMLoss": "baselines.phase",
    "match_template": "baselines.template",
    "ncc": "baselines.template",
    "ssd": "baselines.template",
    "zncc": "baselines.template",
    "NCCLoss": "baselines.template",
    "SSDLoss": "baselines.template",
    "ZNCCLoss": "baselines.template",
    "gram_distance": "baselines.style",
    "gram_matrix": "baselines.style",
    "GramLoss": "baselines.style",
    "content_distance": "baselines.content",
    "crn_distance": "baselines.content",
    "crn_tower": "baselines.content",
    "CRNLoss": "baselines.content",
    "ContentLoss": "baselines.content",
    "dists": "baselines.texture",
    "dists_tower": "baselines.texture",
    "read_dists_weights": "baselines.texture",
    "DISTSLoss": "baselines.texture",
}

__all__ = [
    "LPIPS",
    "METRICS",
    "TOWERS",
    "CRNLoss",
    "ContentLoss",
    "DISTSLoss",
    "Encoding",
    "FSIMLoss",
    "FeatureTower",
    "GramLoss",
    "Jittered",
    "L1Loss",
    "L2Loss",
    "MSSSIMLoss",
    "MultiScale",
    "NCCLoss",
    "SSDLoss",
    "SSIMLoss",
    "ZNCCLoss",
    "__version__",
    "compare",
    "content_distance",
    "crn_distance",
    "crn_tower",
    "dists",
    "dists_tower",
    "fsim",
    "gram_distance",
    "gram_matrix",
    "l1",
    "l2",
    "lpips",
    "match_template",
    "ms_ssim",
    "ncc",
    "psnr",
    "read_dists_weights",
    "read_image",
    "ssd",
    "ssim",
    "zncc",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'lpips_lite' has no attribute {name!r}")
    return getattr(import_module(f"lpips_lite.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
