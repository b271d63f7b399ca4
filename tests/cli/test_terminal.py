"""How the command ends: its exit statuses, and streams that are closed or cannot encode the output."""

import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import torch

from lpips_lite import baselines
from lpips_lite.cli.terminal import spell_option
from tests.command import ENVIRONMENT, PROGRAM, noise, run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a pair of images."""
    monkeypatch.chdir(tmp_path)
    noise(tmp_path / "a.png", seed=0)
    noise(tmp_path / "b.png", seed=1)
    return tmp_path


def process(*arguments, **settings):
    settings = {"env": ENVIRONMENT, "capture_output": True, "text": True, "timeout": 120, **settings}
    return subprocess.run([*PROGRAM, *map(str, arguments)], check=False, **settings)


# -- exit status ---------------------------------------------------------------------------------------------------

ENDS = {
    "fine": (["a.png", "b.png", "-m", "l1"], 0, ""),
    "a rule kept": (["a.png", "b.png", "-m", "l1", "--fail", "l1>0.9"], 0, ""),
    "a rule crossed": (["a.png", "b.png", "-m", "l1", "--fail", "l1>0.1"], 1, "failed: b.png: l1 = 0.3"),
    "an error beats a rule": (["a.png", "b.png", "c.png", "-m", "l1", "--fail", "l1>0.1"], 2, "no such file"),
    "an unknown option": (["a.png", "b.png", "--colour"], 2, "--colour"),
    "an unknown metric": (["a.png", "b.png", "-m", "lpip"], 2, "unknown metric 'lpip'"),
    "too large a size": (["a.png", "b.png", "--resize", "100000x100000"], 2, "--resize 100000x100000: 10000000000 pix"),
    "too large an image": (["a.png", "b.png", "--max-pixels", "99"], 2, "b.png: 48 × 40 = 1920 pixels; expected no mo"),
    "a device without numbers": (["a.png", "b.png", "--device", "meta"], 2, "--device meta: not usable on this mach"),
    "a device that is none": (["a.png", "b.png", "--device", "gpu"], 2, "--device gpu: not usable on this machine"),
    "a file called like a failure": (["a.png", "out of memory.png"], 2, "error: no such file or folder: out of"),
    "a rule that is none": (["a.png", "b.png", "--fail", "lite>"], 2, "error: --fail 'lite>': '' is no finite decimal"),
    "no colour": (["a.png", "b.png", "--background", "paper"], 2, "--background paper: expected a colour like white"),
    "no weights": (["a.png", "b.png", "-m", "lite:weights=none.pth"], 2, "none.pth does not exist"),
    "weights that are none": (["a.png", "b.png", "-m", "lite:weights=a.png"], 2, "bytes) cannot be read as weights"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "status", "message"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("debug", [False, True])
def test_status_and_message(folder, arguments, status, message, debug):
    found, _, err = run(*arguments, *(["--debug"] if debug else []))
    assert found == status
    assert message in err
    if not debug:
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 8  # a usage text and the message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation"),
        MemoryError(),
        RuntimeError("CUDA error: an illegal memory access"),
        IndexError("a fault of ours"),
    ],
    ids=["CPU", "CUDA", "Python", "CUDA fault", "fault"],
)
def test_whatever_a_metric_raises_is_status_2(folder, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(baselines.pixel, "l1", fail)
    status, out, err = run("a.png", "b.png", "-m", "l1,l2", "-f", "csv")
    assert status == 2
    assert "Traceback" not in err
    assert err.startswith("error: ")
    if not isinstance(error, IndexError):
        assert "b.png: l1: cannot be computed here" in err
        assert float(out.splitlines()[1].split(",")[3]) > 0.1  # the other metric has its number


# -- interrupts ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="signals are others there")
@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0, 2.5])
def test_an_interrupt_at_any_moment_is_quiet_and_130(folder, seconds):
    for number in range(60):
        noise(folder / f"more/{number:02}.png", (256, 256), seed=number)
    running = subprocess.Popen(
        [*PROGRAM, "--all-pairs", "more", "-m", "lite,fsim", "--output", "r.csv"],
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "") or (seconds < 0.2 and running.returncode == -signal.SIGINT)
    assert "Traceback" not in err or seconds < 0.2  # then Python itself may still be starting
    assert running.returncode < 0 or "interrupted" in err


# -- streams -------------------------------------------------------------------------------------------------------

SPEECH = {
    "table": ("cp1252", ["a.png", "b.png"], 0),
    "help": ("cp1252", ["--help"], 0),
    "error": ("ascii", ["a.png", "absent_–_é.png"], 2),
    "rule": ("latin-1", ["a.png", "b.png", "--fail", "lite>0.001"], 1),
    "weights": ("ascii", ["weights", "list"], 0),
    "locale": (None, ["a.png", "b.png"], 0),
    "help, locale": (None, ["--help"], 0),
}


@pytest.mark.parametrize(("encoding", "arguments", "status"), SPEECH.values(), ids=SPEECH)
def test_streams_that_are_not_utf8(folder, encoding, arguments, status):
    c_locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    own = {"PYTHONIOENCODING": encoding} if encoding else c_locale
    result = process(*arguments, env={**ENVIRONMENT, **own}, text=False)
    assert result.returncode == status
    text = (result.stdout + result.stderr).decode(encoding or "ascii")
    assert "Traceback" not in text
    assert arguments != ["a.png", "b.png"] or "lite v" in text


def test_utf8_streams_are_left_alone(folder):
    result = process("a.png", "b.png", env={**ENVIRONMENT, "PYTHONIOENCODING": "utf-8"}, text=False)
    assert "lite ↓" in result.stdout.decode("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="descriptors are others there")
@pytest.mark.parametrize("arguments", [["a.png", "b.png"], ["a.png", "b.png", "-m", "l1", "-f", "csv"], ["--help"]])
def test_a_closed_stdout(folder, arguments):
    command = f"{shlex.join([*PROGRAM, *arguments])} >&-"
    result = subprocess.run(command, shell=True, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith("error: standard output ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes are others there")
@pytest.mark.parametrize("arguments", [["a.png", "b.png"], ["a.png", "b.png", "-m", "l1", "-f", "csv"], ["--help"]])
def test_a_stdout_that_nobody_reads(folder, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    result = process(*arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert result.returncode == 2
    assert result.stderr == "error: standard output was closed before everything was written\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("written", [["-o", "/dev/full", "-f", kind] for kind in ("table", "csv", "jsonl", "json")]
                         + [["--report", "/dev/full"]], ids=" ".join)  # fmt: skip
def test_a_full_disk(folder, written):
    status, _, err = run("a.png", "b.png", "-m", "l1", *written)
    assert status == 2
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize(("arguments", "status"), [(["a.png", "b.png"], 0), (["a.png", "absent.png"], 2)])
def test_a_stderr_that_cannot_be_written_changes_no_status(folder, arguments, status):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        result = process(*arguments, "-m", "l1", "-o", "r.csv", capture_output=False, stderr=full)
    assert result.returncode == status


def test_no_stderr_is_no_reason_to_fail(folder):
    command = shlex.join([*PROGRAM, "a.png", "b.png", "-m", "l1", "--fail", "l1>0.1"])
    result = subprocess.run(
        f"{command} 2>&-", shell=True, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert result.returncode == 1
    assert "b.png" in result.stdout


@pytest.mark.skipif(os.name != "posix", reason="names are others there")
def test_control_characters_in_names_do_not_reach_the_screen(folder):
    name = "red\x1b[31m\rover\u202ewritten\n.png"
    os.rename("b.png", name)  # noqa: PTH104
    for arguments in (["a.png", name], ["a.png", name, "--fail", "lite>0.001"], ["a.png", "a.png", "--heatmap", name]):
        status, out, err = run(*arguments)
        assert not {"\x1b", "\r", "\u202e"} & {*out, *err}, (arguments, status)
    (folder / name).write_bytes(b"no image")
    assert "red\\x1b[31m\\rover\\u202ewritten\\n.png: not an image file" in run("a.png", name)[2]


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("max_pixels", 9, "--max-pixels 9"),
        ("resize", (3, 4), "--resize 4x3"),
        ("ignore_boxes", [(1, 2, 3, 4), (5, 6, 7, 8)], "--ignore-box 1,2,3,4"),
        ("allow_unmatched", True, "--allow-unmatched"),
        ("ref_pattern", "{name}.png", "--ref-pattern '{name}.png'"),
    ],
)
def test_options_are_spelled_as_they_are_typed(argument, value, text):
    assert spell_option(argument, value) == text


def test_help_needs_no_torch():
    code = (
        "import sys; sys.argv = ['compare-images', '--help']\n"
        "from lpips_lite.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as e: assert not e.code\n"
        "assert not {'torch', 'PIL', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
