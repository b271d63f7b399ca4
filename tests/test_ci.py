"""The workflows in docs/ do what they say: their steps are run, except for the installation, on pictures drawn here."""

import os
import shlex
import subprocess
import sys

import junitparser
import pytest
import yaml
from PIL import Image, ImageDraw

from tests.command import ENVIRONMENT
from tests.conftest import ROOT

GITHUB, GITLAB = (
    yaml.safe_load((ROOT / "docs" / name).read_text(encoding="utf-8"))
    for name in ("github-workflow.yml", "gitlab-ci.yml")
)
STEPS = GITHUB["jobs"]["compare"]["steps"]
INSTALL = [step["run"] for step in STEPS if step.get("run", "").startswith("pip install ")]
STEPS_HERE = {step["name"]: step for step in STEPS if "run" in step and step["run"] not in INSTALL}
ARTIFACTS = STEPS[-1]["with"]["path"].split()
SHELLS = {None: ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


def draw(path, text):
    """Draw a page with a button."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(page).rounded_rectangle((30, 40, 130, 80), 6, "navy")
    ImageDraw.Draw(page).text((45, 52), text, "white")
    page.save(path)


def run_steps(folder):
    """Run the steps as GitHub does, after a failure only those that have a condition; return their exit statuses."""
    scripts = {
        "bin/compare-images": f'exec {shlex.quote(sys.executable)} -m lpips_lite "$@"',
        "draw.sh": 'mkdir "$1" && cp -R drawn/. "$1"',
    }
    (folder / "bin").mkdir()
    for path, script in scripts.items():
        (folder / path).write_text(f"#!/bin/sh\n{script}\n")
        (folder / path).chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**ENVIRONMENT, "PATH": path, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    statuses = {}
    for name, step in STEPS_HERE.items():
        if "if" in step or not any(statuses.values()):
            command = [*SHELLS[step.get("shell")], step["run"]]
            statuses[name] = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    return statuses


@pytest.mark.skipif(os.name != "posix", reason="the workflow runs on Linux")
@pytest.mark.parametrize(("text", "status"), [("Save", 0), ("Send", 1)])
def test_the_workflow_of_github(tmp_path, text, status):
    for page, drawn in (("page0.png", "Save"), ("page1.png", text)):
        draw(tmp_path / "golden" / page, "Save")
        draw(tmp_path / "drawn" / page, drawn)
    assert run_steps(tmp_path) == {"Draw": 0, "Compare": status, "Summarize": 0}
    assert [path for path in ARTIFACTS if not (tmp_path / path).exists()] == []
    (suite,) = junitparser.JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    assert [(case.classname, case.name, case.is_passed) for case in suite] == [
        ("rendered", "page0.png", True), ("rendered", "page1.png", not status),
    ]  # fmt: skip
    attached = [case.system_out.rpartition("[[ATTACHMENT|")[2].removesuffix("]]") for case in suite]
    assert [(tmp_path / path).is_file() for path in attached] == [True, True]
    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert lines[0] == f"2 tests · {status} failures · 0 errors · 0 skipped"
    assert [line.startswith("| rendered/page1.png | failed | ") for line in lines[4:]] == [True] * status


def test_the_one_of_gitlab_does_the_same():
    job = GITLAB["visual"]
    assert job["script"] == [*INSTALL, *(STEPS_HERE[name]["run"] for name in ("Draw", "Compare"))]
    assert {*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()} == set(ARTIFACTS)
