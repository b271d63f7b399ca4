"""docs/calibrating.md is run as it is written, block by block, with only the wheel, in an empty folder."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.browser import SHOTS, WIDE, chromium
from tests.conftest import ROOT
from tests.votes.collect.person import Person
from tests.votes.collect.visitors import Visitor, pixels, sure

PAGE = (ROOT / "docs/calibrating.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NOT_THERE = (  # modules that are not in the wheel, and not in its extra [collect]
    *("calibration", "benchmarks", "examples", "tests"),
    *("piq", "lpips", "torchvision", "torchmetrics", "skimage", "pytest", "hypothesis"),
)
NUMBER = r"(?<![\w.-])[-+]?\d+(?:\.\d+)?(?![\w.])"


def unpack_wheel(folder, request):
    """Unpack the wheel; without hatchling, copy the files of the wheel."""
    if importlib.util.find_spec("hatchling"):
        (wheel,) = request.getfixturevalue("built").glob("*.whl")
        zipfile.ZipFile(wheel).extractall(folder / "site")
    else:
        (package,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
            "packages"
        ]
        shutil.copytree(ROOT / package, folder / "site" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "site"


@pytest.fixture(scope="module")
def machine(tmp_path_factory, request):
    """A machine with the wheel, its commands and an empty folder; returns a function that runs something there."""
    folder = tmp_path_factory.mktemp("machine")
    site, commands, study = unpack_wheel(folder, request), folder / "bin", folder / "study"
    (site / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({NOT_THERE}))\n")
    study.mkdir()
    commands.mkdir()
    for name, entry in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items():
        module, _, function = entry.partition(":")
        code = f"import sys; from {module} import {function}; sys.argv[0] = '{name}'; {function}()"
        (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
        (commands / name).chmod(0o755)
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (commands / "python").chmod(0o755)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(site), "LPIPS_LITE_HOME": str(folder / "home")}

    def run(command):
        return subprocess.run(command, shell=True, cwd=study, env=environment, capture_output=True, text=True)

    run.study, run.environment = study, environment
    return run


def plain(text):
    """Return words with one space between them; hashes of fitted weights depend on the last digits of numbers."""
    return " ".join(re.sub(r"custom-[0-9a-f]{8}", "custom-HASH", text).split())


def near(number):
    """Return the range of a number of the page on other machines: counts are equal, fits are close."""
    decimals = len(number.partition(".")[2])
    return pytest.approx(float(number), rel=0.05 if decimals else 0, abs=20 / 10**decimals if decimals else 0)


def assert_said(found, expected):
    """Compare output with the page, in which three dots stand for anything, and numbers for numbers close to them."""
    parts = re.split(rf"({NUMBER}|\.\.\.)", plain(expected))
    wanted = [part for part in parts[1::2] if part != "..."]
    patterns = [".*?" if part == "..." else f"({NUMBER})" for part in parts[1::2]]
    between = [re.escape(part) for part in parts[::2]]
    match = re.fullmatch(
        "".join(part for pair in zip(between, [*patterns, ""], strict=True) for part in pair), plain(found)
    )
    assert match, found
    assert [float(group) for group in match.groups()] == [near(number) for number in wanted], found


def test_the_package_is_that_of_the_wheel(machine):
    found = machine("python -c 'import lpips_lite; print(lpips_lite.__file__)'").stdout
    assert "/site/lpips_lite/" in found
    assert str(ROOT) not in found
    for name in NOT_THERE:
        assert machine(f"python -c 'import {name}'").returncode == 1, name


class People:
    """Nine people who mind blur three times as much as noise, and one who always presses the same key."""

    def __init__(self, study):
        self.harm = {}
        for name, minded in (("blur", 3), ("noise", 1)):
            for strength, least in (("weak", 0), ("strong", 0.5)):
                for path in (study / f"{strength}-{name}").glob("*.png"):
                    self.harm[pixels(path)] = minded * (least + int(path.stem) % 5 / 10)
        self.harm |= {pixels(path): -9 for path in (study / "original").glob("*.png")}

    def choose(self, first, second, random):
        """Choose by harm; an unknown image is from a catch trial, and worse than all."""
        return sure(self.harm.get(first, 99) - self.harm.get(second, 99), random)

    def vote(self, address):
        visitors = [Visitor(address, f"person {number}") for number in range(10)]
        choices = [self.choose] * 9 + [lambda *_: "left"]
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(Visitor.vote, visitors, choices))


def picture(vote, watch):
    """Make the pictures of the page; the person used for this is deleted afterwards, with all votes."""
    with chromium() as driver:
        person = Person(driver, watch)
        person.see({**WIDE, "height": 880}, "light")
        driver.get(watch)
        person.shot("watch")
        person.see({**WIDE, "height": 400}, "light")
        person.address = vote
        person.begin()
        for _ in range(4):
            person.answer(person.css("[data-answer=left]").click)
        person.shot("collect")
        driver.execute_async_script("post('api/forget').then(arguments[0])")


def collect(machine, command):
    """Run a command that serves until it is interrupted, let people vote, and return its first lines of output."""
    with subprocess.Popen(
        f"exec {command} --port 0",
        shell=True,
        cwd=machine.study,
        env=machine.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(3)]
            address = lines[1].split()[-1]
            People(machine.study).vote(address)
            if SHOTS:
                picture(address, lines[2].split()[-1])
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    return "".join(lines).replace(address.split(":")[-1].rstrip("/"), "8000")


def test_the_walk_through_runs_as_it_is_written(machine):
    """This is one test, since each block needs those before it.

    With LPIPS_LITE_SCREENSHOTS=docs/images it also makes the pictures of the page.
    """
    assert [kind for kind, _ in BLOCKS].count("console") == 7
    for number, (kind, block) in enumerate(BLOCKS):
        if kind == "python":
            result = machine(f"cat > block{number}.txt <<'END'\n{block}\nEND\npython -m doctest block{number}.txt")
            assert result.returncode == 0, result.stdout + result.stderr
            continue
        assert kind == "console"
        command, _, expected = block.removeprefix("$ ").partition("\n")
        if command.startswith("lpips-votes collect "):
            assert_said(collect(machine, command), expected)
            continue
        result = machine(command)
        assert result.returncode == 0, result.stdout + result.stderr
        assert_said(result.stdout + result.stderr, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("a 1.00 b\nc 2", "a 1.01 b\n..."),
        ("d 0.0046", "d 0.0047"),
        ("a 70.1 b\nx 9\nc 2", "a 70.4 b\n...\nc 2"),
        ("w=custom-fb6a97f3 0.1", "w=custom-00000000 0.1"),
        ("+1.0 [-2.0, 3.0]", "+1.0 [-2.0, 3.0]"),
    ],
)
def test_comparing_allows_for_last_digits(found, expected):
    assert_said(found, expected)


@pytest.mark.parametrize(
    ("found", "expected"),
    [("a 1", "b 1"), ("a 1", "a 2"), ("a 1\nb", "a 1"), ("a 70.0", "a 80.0\n..."), ("d 0.0046", "d 0.0246")],
)
def test_comparing_sees_differences(found, expected):
    with pytest.raises(AssertionError):
        assert_said(found, expected)
