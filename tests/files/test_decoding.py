"""Reading ahead: order, errors as rows, a bound on bytes, pipes."""

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lpips_lite.files import decoding
from lpips_lite.files.budget import Budget
from lpips_lite.files.contents import Contents
from lpips_lite.files.decoding import decode
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import Reader
from lpips_lite.files.settings import Settings

CLEAR = np.zeros((16, 16, 4), np.uint8)
INK = np.full((16, 16, 4), 255, np.uint8)
INK[:8, :, 3] = 0  # white ink below, nothing above


def pair_of(reference, image):
    return Pair(reference, image, "pair")


def saved(path, pixels):
    Image.fromarray(pixels).save(path, "PNG")
    return path


def decoded(pairs, **options):
    settings = Settings(**options)
    return list(decode(pairs, settings, Reader(settings.background, settings.max_pixels)))


def test_one_bad_file_is_one_error_in_its_place(tmp_path):
    good = saved(tmp_path / "good.png", RGB)
    bad = [tmp_path / f"bad{i}.png" for i in range(4)]
    for path, data in zip(bad, (b"", b"\x89PNG\r\n\x1a\n", good.read_bytes()[:60], b"GIF89a" + bytes(9)), strict=True):
        path.write_bytes(data)
    images = [good, bad[0], good, bad[1], bad[2], tmp_path / "none.png", bad[3], good]
    found = decoded([pair_of(good, image) for image in images])
    assert [one.pair.image for one in found] == images
    assert [one.error is None for one in found] == [image == good for image in images]
    assert all(str(one.pair.image) in one.error for one in found if one.error)


RGB = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.mark.parametrize(("background", "other"), [("white", "black"), ("#ffffff", "black"), ("#fff", "black")])
def test_difference_that_the_background_hides_is_an_error(tmp_path, background, other):
    pair = pair_of(saved(tmp_path / "clear.png", CLEAR), saved(tmp_path / "ink.png", INK))
    (hidden,) = decoded([pair], background=background)
    assert f"background={background!r} hides; try background={other!r}" in hidden.error
    (shown,) = decoded([pair], background=other)
    assert shown.error is None
    assert not shown.identical


def test_black_hides_black_ink(tmp_path):
    ink = INK.copy()
    ink[..., :3] = 0
    pair = pair_of(saved(tmp_path / "clear.png", CLEAR), saved(tmp_path / "ink.png", ink))
    assert "try background='white'" in decoded([pair], background="black")[0].error


def test_identical_compares_hidden_colours(tmp_path):
    other = INK.copy()
    other[:8, :, :3] = 7
    pairs = [
        pair_of(saved(tmp_path / "a.png", INK), saved(tmp_path / name, x)) for name, x in (("b", INK), ("c", other))
    ]
    assert [one.identical for one in decoded(pairs)] == [True, False]


def test_reference_that_follows_itself_is_read_once(tmp_path, monkeypatch):
    reads, read = [], Contents.read
    monkeypatch.setattr(Contents, "read", lambda self, path: reads.append(path.name) or read(self, path))
    reference = saved(tmp_path / "reference.png", INK)
    found = decoded([pair_of(reference, saved(tmp_path / f"{i}.png", RGB)) for i in range(12)], workers=4)
    assert reads.count("reference.png") == 1
    assert {note for one in found for note in one.notes} == {f"{reference}: transparent; composited on white"}


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_pictures_read_ahead_stay_within_the_budget(tmp_path, monkeypatch, workers):
    for i in range(20):
        saved(tmp_path / f"{i}.png", np.tile(RGB, (8, 8, 1)))
    most, take = [], Budget._may_take

    def watched(self, turn, wanted):
        granted = take(self, turn, wanted)
        if granted:
            most.append((sum(self._held.values()) + wanted, wanted))
        return granted

    monkeypatch.setattr(decoding, "MOST_BYTES", 2**22)
    monkeypatch.setattr(Budget, "_may_take", watched)
    found = decoded([pair_of(tmp_path / "0.png", tmp_path / f"{i}.png") for i in range(20)], workers=workers)
    assert [one.error for one in found] == [None] * 20
    assert all(held <= max(2**22, wanted) for held, wanted in most)


def test_budget_is_a_quarter_of_the_free_memory_at_most(monkeypatch):
    limits = []
    monkeypatch.setattr(decoding, "Budget", lambda limit: limits.append(limit) or Budget(limit))
    for available in (2**30, 2**40):
        monkeypatch.setattr(decoding.psutil, "virtual_memory", lambda n=available: SimpleNamespace(available=n))
        decoded([])
    assert limits == [2**28, decoding.MOST_BYTES]


def test_budget_grants_in_order_and_alone_what_is_too_large():
    budget, granted = Budget(100), []

    def ask(turn, wanted):
        budget.enter(turn, wanted)
        budget.take(turn, wanted)
        granted.append(turn)

    threads = [threading.Thread(target=ask, args=pair) for pair in ((2, 60), (1, 500), (0, 60))]
    for thread in threads:
        thread.start()
    for turn in range(3):
        while turn not in granted:
            pass
        assert granted == list(range(turn + 1))
        budget.give_back(turn)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0"])
def test_standard_input_is_read_once_under_all_its_names(tmp_path, monkeypatch, name):
    data = saved(tmp_path / "a.png", RGB).read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    found = decoded([pair_of(Path(name), tmp_path / "a.png"), pair_of(tmp_path / "a.png", Path("-"))])
    assert [(one.error, one.identical) for one in found] == [(None, True)] * 2


def test_pipe_is_read_once(tmp_path):
    data, fifo = saved(tmp_path / "a.png", RGB).read_bytes(), tmp_path / "pipe"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=[data])
    writer.start()
    found = decoded([pair_of(fifo, tmp_path / "a.png"), pair_of(tmp_path / "a.png", fifo)])
    writer.join()
    assert [(one.error, one.identical) for one in found] == [(None, True)] * 2


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(), SimpleNamespace(buffer=SimpleNamespace(closed=True))])
def test_standard_input_that_is_closed_is_an_error(tmp_path, monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    (found,) = decoded([pair_of(saved(tmp_path / "a.png", RGB), Path("-"))])
    assert found.error == "-: cannot be read (standard input is closed)"


@pytest.mark.parametrize("name", ["/dev/null", "a\0b.png", "\ud800.png", "."])
def test_what_is_no_file_is_an_error(tmp_path, name):
    (found,) = decoded([pair_of(saved(tmp_path / "a.png", RGB), Path(name))])
    assert found.error.endswith(("is a device, not an image", "no such file", "is a folder, not an image"))


@pytest.mark.parametrize("resize", ["pad", "crop"])
def test_pictures_of_two_sizes_are_not_identical_even_if_what_is_compared_is(tmp_path, resize):
    Image.new("RGB", (20, 20), "white").save(tmp_path / "short.png")
    Image.new("RGB", (20, 30), "white").save(tmp_path / "long.png")
    pair = Pair(tmp_path / "short.png", tmp_path / "long.png", "long")
    (one,) = decoded([pair], resize=resize)
    assert (one.image == one.reference).all()
    assert one.identical is False
