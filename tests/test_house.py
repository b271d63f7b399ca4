"""The house: storeys import only those below them, the public names are as listed, and slow imports come late."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lpips_lite

PACKAGE = Path(lpips_lite.__file__).parent
STOREYS = ("files", "votes", "cli")  # subpackages above the root, which holds tensors only
ALLOWED = {  # storey -> the storeys it may import
    "root": {"root"},
    "files": {"root", "files"},
    "votes": {"root", "files", "votes"},
    "cli": {"root", "files", "votes", "cli"},
}
EXCEPTIONS = {"__init__.pyi", "__main__.py"}  # in the root: the list of public names, and the entry of the command
RICH = ("terminal.py", "cli/")  # the only places that may import rich
CLICK = ("cli/",)
LONGEST = 310


def imports_of(path):
    """Yield the full names of the modules that a file imports, at any depth of its code."""
    package = ("lpips_lite", *path.relative_to(PACKAGE).parent.parts) if path.is_relative_to(PACKAGE) else ()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" if module in MODULES else module for alias in node.names)


def module_of(path):
    return ".".join(("lpips_lite", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def storey_of(module):
    part = module.split(".")[1] if "." in module else ""
    return part if part in STOREYS else "root"


FILES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyi"))
MODULES = {module_of(path) for path in FILES}


def arrows():
    """Return module -> the modules of this package that it imports."""
    found = {}
    for path in FILES:
        names = {name for name in imports_of(path) if name.split(".")[0] == "lpips_lite"}
        modules = {name if name in MODULES else name.rpartition(".")[0] for name in names}
        found.setdefault(module_of(path), set()).update(modules - {module_of(path)})
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_storey_imports_only_those_below_it(path):
    name = path.relative_to(PACKAGE).as_posix()
    for imported in imports_of(path):
        top = imported.split(".")[0]
        assert top not in ("calibration", "benchmarks", "examples", "tests"), imported
        assert top != "rich" or name.startswith(RICH), f"{name} imports rich"
        assert top != "click" or name.startswith(CLICK), f"{name} imports click"
        if top == "lpips_lite" and name not in EXCEPTIONS:
            assert storey_of(imported) in ALLOWED[storey_of(module_of(path))], f"{name} imports {imported}"


def test_only_commands_talk():
    """Root and `files/` take progress as a function and return notes as data: they do not import `terminal`."""
    for module, imported in arrows().items():
        if storey_of(module) != "cli":
            assert "lpips_lite.terminal" not in imported, module


def test_no_circle():
    """Imports have no circle; the lazy list of public names is not an import."""
    found = {module: imported - {"lpips_lite"} for module, imported in arrows().items() if module != "lpips_lite"}
    while found:
        free = {module for module, imported in found.items() if not imported & found.keys()}
        assert free, f"a circle among {sorted(found)}"
        found = {module: imported for module, imported in found.items() if module not in free}


def test_laboratory_and_examples_do_not_import_the_command():
    for folder in ("calibration", "benchmarks", "examples"):
        for path in (PACKAGE.parent / folder).rglob("*.py"):
            assert "cli" not in {storey_of(name) for name in imports_of(path) if name.startswith("lpips_lite")}, path


def test_public_names():
    assert set(lpips_lite.__all__) == {
        *("LPIPS", "lpips", "Encoding", "FeatureTower", "TOWERS", "METRICS", "read_image", "compare", "__version__"),
        "summarize",
        *("l1", "l2", "psnr", "ssim", "ms_ssim", "fsim", "ssd", "ncc", "zncc", "match_template"),
        "changed_pixels",
        *("gram_matrix", "gram_distance", "content_distance", "crn_distance", "crn_tower"),
        *("dists", "dists_tower", "read_dists_weights", "L1Loss", "L2Loss", "SSIMLoss", "MSSSIMLoss", "FSIMLoss"),
        *("Jittered", "MultiScale"),
        *("SSDLoss", "NCCLoss", "ZNCCLoss", "GramLoss", "ContentLoss", "CRNLoss", "DISTSLoss"),
    }
    for name in (*lpips_lite.__all__, "LPIPSMetric"):
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


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_do_not_import_torch(option):
    modules = loaded_by(f"from lpips_lite.cli.main import main\ntry: main([{option!r}])\nexcept SystemExit: pass")
    assert "lpips_lite.catalog" in modules
    assert not modules & {"torch", "numpy", "rich", "PIL"}


def test_lite_does_not_import_torchvision():
    modules = loaded_by("from lpips_lite import LPIPS; LPIPS('lite')")
    assert "lpips_lite.metric" in modules
    assert not modules & {"torchvision", "rich", "pandas", "scipy", "cmap", "PIL", "lpips_lite.files"}


def test_files_stay_short():
    assert {name: lines for name, lines in sizes().items() if lines > LONGEST} == {}


def sizes():
    """Return path in the package -> lines."""
    return {path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}


if __name__ == "__main__":  # python -m tests.test_house
    longest, lines = max(sizes().items(), key=lambda item: item[1])
    count = sum(map(len, arrows().values()))
    sys.stdout.write(f"{len(FILES)} modules, {count} arrows, longest {longest} with {lines} lines\n")
