"""CONTRIBUTING is true: picture and rules name files that there are, and three files make a metric."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "lpips_lite"


@pytest.mark.parametrize("storey", ["root", "files", "votes"])
def test_the_picture_names_modules_that_there_are(storey):
    body = re.search(rf"subgraph {storey}\[.*?\n(.*?)  end", PAGE, re.DOTALL)[1]
    named = {word for label in re.findall(r'\["(.*?)"\]', body) for word in re.findall(r"\w+", label)}
    there = {path.stem for path in (PACKAGE if storey == "root" else PACKAGE / storey).rglob("*")}
    assert len(named) > 8
    assert named <= there


def test_the_rules_name_tests_that_there_are():
    named = set(re.findall(r"\btest_\w+\.py", PAGE))
    assert len(named) > 8
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def test_three_files_make_a_metric(tmp_path):
    """A copy of the package with the page's toy metric compares files by it."""
    shutil.copytree(PACKAGE, tmp_path / "lpips_lite", ignore=shutil.ignore_patterns("__pycache__"))
    metric, names, row = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "lpips_lite/baselines/edges.py").write_text(metric, encoding="utf-8")
    for block, file, place in ((names, "__init__.pyi", "from .baselines"), (row, "catalog.py", '    "ssd"')):
        path, text = tmp_path / "lpips_lite" / file, block.partition("\n")[2]
        path.write_text(path.read_text(encoding="utf-8").replace(place, text + place, 1), encoding="utf-8")
    images = [str(ROOT / f"examples/images/scene{name}.png") for name in ("", "_blur")]
    code = "import sys; from lpips_lite import EdgesLoss; from lpips_lite.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *images, "--metric", "edges", "--format", "csv"]
    result = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    x, y = (np.asarray(Image.open(path).convert("RGB")) / 255 for path in images)
    header, values = (line.split(",") for line in result.stdout.splitlines())
    assert float(values[header.index("edges")]) == pytest.approx(np.abs(np.diff(x - y, axis=1)).mean(), rel=1e-5)
