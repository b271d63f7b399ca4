"""lpips_lite: the perceptual distance between images, as a loss, a command and a benchmark.

The public names are listed in `__init__.pyi`, which both type checkers and the import system read. Each name is
imported when it is first used, so that `compare-images --help` does not wait for torch.
"""

import lazy_loader

__version__ = "1.0.0rc1"

__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*_names, "__version__"} - {"LPIPSMetric"})  # which needs torchmetrics, while `import *` must not


def __dir__() -> list[str]:
    return __all__
