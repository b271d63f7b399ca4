"""lpips_lite: the perceptual distance between images, as a loss, a command and a benchmark.

The public names are those in `__init__.pyi`, the one list that type checkers and the import system read. Each is
imported when it is first used, so that `compare-images --help` need not wait for torch.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted({*_names, "__version__"} - {"LPIPSMetric"})  # that one needs torchmetrics, which `import *` does not


def __dir__() -> list[str]:
    return __all__
