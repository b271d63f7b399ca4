"""The house: imports point one way, the public surface is what it says, and what is slow loads late."""

import ast
import subprocess
import sys
from pathlib import Path

import lpips_lite

PACKAGE = Path(lpips_lite.__file__).parent
ORDER = [  # each room may import the ones before it
    *(
        "manifest",
        "weights",
        "images",
        "frozen",
        "layers",
        "towers",
        "distance",
        "fused",
        "tiling",
        "encoding",
        "metric",
    ),
    *("compat", "robust", "tracking"),
    *("baselines.pixel", "baselines.structural", "baselines.phase", "baselines.template", "baselines.style"),
    *("baselines.content", "baselines.texture", "catalog"),
    *("pairs", "decoding", "measuring", "shards", "summary", "tables", "cli_output", "report", "page", "comparison"),
    *("comparing", "cli_weights", "cli", "__main__"),
]


def imports_of(path):
    """Return the names of this package's modules that a file imports at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lpips_lite"):
            base = node.module.removeprefix("lpips_lite").removeprefix(".")
            yield from ([base] if base else [alias.name for alias in node.names])
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not {name.split(".")[0] for name in names} & {"calibration", "benchmarks", "examples", "tests"}


def test_imports_point_back_in_the_order_of_the_rooms():
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        if room in ("__init__", "baselines.__init__"):
            continue
        for imported in imports_of(path):
            if imported in ORDER:
                assert ORDER.index(imported) < ORDER.index(room), f"{room} imports {imported}"


def test_public_names():
    assert set(lpips_lite.__all__) == {
        *("LPIPS", "lpips", "Encoding", "FeatureTower", "TOWERS", "METRICS", "read_image", "compare", "__version__"),
        *("l1", "l2", "psnr", "ssim", "ms_ssim", "fsim", "ssd", "ncc", "zncc", "match_template"),
        *("gram_matrix", "gram_distance", "content_distance", "crn_distance", "crn_tower"),
        *("dists", "dists_tower", "read_dists_weights", "L1Loss", "L2Loss", "SSIMLoss", "MSSSIMLoss", "FSIMLoss"),
        *("Jittered", "MultiScale"),
        *("SSDLoss", "NCCLoss", "ZNCCLoss", "GramLoss", "ContentLoss", "CRNLoss", "DISTSLoss"),
    }
    for name in lpips_lite.__all__:
        assert getattr(lpips_lite, name) is not None
    public = {name for name in vars(lpips_lite.LPIPS) if not name.startswith("_")} - {"extra_repr"}
    assert public == {"forward", "layer_distances", "distance_map", "encode", "distance", "pairwise", "preference"}


def test_unknown_names_are_attribute_errors():
    assert not hasattr(lpips_lite, "nothing")


def loaded_by(code):
    """Run code in a new interpreter and return the modules it loaded."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_help_does_not_import_torch():
    modules = loaded_by("from lpips_lite.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert "lpips_lite.catalog" in modules
    assert not modules & {"torch", "numpy", "rich"}


def test_lite_does_not_import_torchvision():
    modules = loaded_by("from lpips_lite import LPIPS; LPIPS('lite')")
    assert "lpips_lite.metric" in modules
    assert not modules & {"torchvision", "rich", "pandas", "scipy", "cmap"}


def test_files_stay_short():
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 310} == {}
