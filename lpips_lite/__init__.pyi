# The public names, each where it is defined; `__init__.py` loads them from this list. `X as X` exports X.

from .baselines.changes import changed_pixels as changed_pixels
from .baselines.content import (
    ContentLoss as ContentLoss,
    CRNLoss as CRNLoss,
    content_distance as content_distance,
    crn_distance as crn_distance,
    crn_tower as crn_tower,
)
from .baselines.phase import FSIMLoss as FSIMLoss, fsim as fsim
from .baselines.pixel import L1Loss as L1Loss, L2Loss as L2Loss, l1 as l1, l2 as l2, psnr as psnr
from .baselines.structural import MSSSIMLoss as MSSSIMLoss, SSIMLoss as SSIMLoss, ms_ssim as ms_ssim, ssim as ssim
from .baselines.style import GramLoss as GramLoss, gram_distance as gram_distance, gram_matrix as gram_matrix
from .baselines.template import (
    NCCLoss as NCCLoss,
    SSDLoss as SSDLoss,
    ZNCCLoss as ZNCCLoss,
    match_template as match_template,
    ncc as ncc,
    ssd as ssd,
    zncc as zncc,
)
from .baselines.texture import (
    DISTSLoss as DISTSLoss,
    dists as dists,
    dists_tower as dists_tower,
    read_dists_weights as read_dists_weights,
)
from .catalog import METRICS as METRICS
from .encoding import Encoding as Encoding
from .files.compare import compare as compare
from .files.reading import read_image as read_image
from .files.summarize import summarize as summarize
from .metric import LPIPS as LPIPS, lpips as lpips
from .robust import Jittered as Jittered, MultiScale as MultiScale
from .towers import TOWERS as TOWERS, FeatureTower as FeatureTower
from .tracking import LPIPSMetric as LPIPSMetric

__version__: str
