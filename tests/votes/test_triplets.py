"""Readers of human judgments: each format, and one line for every bad row."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from lpips_lite.votes.triplets import fewest_votes, load, main, read, read_jnd


def image(path, size=(16, 16), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def bapps(folder, judgements):
    """Write one family of BAPPS 2AFC."""
    for number, judgement in enumerate(judgements):
        for part in ("ref", "p0", "p1"):
            image(folder / part / f"{number:06}.png")
        (folder / "judge").mkdir(exist_ok=True)
        np.save(folder / "judge" / f"{number:06}.npy", np.array([judgement], dtype=np.float32))


def votes_table(folder, rows):
    folder.mkdir(exist_ok=True)
    pd.DataFrame(rows, columns=["ref", "p0", "p1", "votes_p0", "votes_p1"]).to_csv(folder / "votes.csv", index=False)
    return folder / "votes.csv"


def check(*paths):
    result = CliRunner().invoke(main, ["check", *map(str, paths)])
    return result.exit_code, result.stdout.splitlines()


def test_bapps_families(tmp_path):
    bapps(tmp_path / "val/cnn", [0.2, 0.8, 1.0])
    bapps(tmp_path / "val/color", [0.0, 0.5])
    triplets = load([tmp_path])
    assert [(t.family, t.judgement, t.votes) for t in triplets] == [
        *[("cnn", 0.2, 5), ("cnn", 0.8, 5), ("cnn", 1.0, 5)],
        *[("color", 0.0, 2), ("color", 0.5, 2)],
    ]
    assert triplets[1].p1 == tmp_path / "val/cnn/p1/000001.png"
    assert load([tmp_path / "val/color"]) == triplets[3:]


def test_a_missing_file_shifts_nothing(tmp_path):
    bapps(tmp_path, [0.0, 0.2, 0.4])
    (tmp_path / "p0/000001.png").unlink()
    found = read(tmp_path)
    assert [(t.ref.stem, t.p0.stem, t.judgement) for t in found.triplets] == [
        ("000000", "000000", 0),
        ("000002", "000002", 0.4),
    ]
    assert found.problems == [f"{tmp_path}: 000001 is missing in p0"]
    with pytest.raises(ValueError, match=r"1 problems, the first: .*000001 is missing in p0"):
        load([tmp_path])


def test_votes(tmp_path):
    path = votes_table(tmp_path, [("r.png", "a.png", "b.png", 1, 3), ("r.png", "a.png", "c.png", 2, 0)])
    first, second = load([path])
    assert (first.judgement, first.votes, first.p1) == (0.75, 4, tmp_path / "b.png")
    assert (second.judgement, second.votes, second.family) == (0, 2, tmp_path.name)
    assert load([tmp_path]) == [first, second]


def test_nights(tmp_path):
    columns = [
        "id",
        "left_vote",
        "right_vote",
        "votes",
        "ref_path",
        "left_path",
        "right_path",
        "prompt",
        "split",
        "is_imagenet",
    ]
    rows = [
        (0, 0, 1, 8, "ref/000/001.png", "distort/000/001_0.png", "distort/000/001_1.png", "x", "train", True),
        (1, 1, 0, 3, "ref/000/002.png", "distort/000/002_0.png", "distort/000/002_1.png", "x", "train", True),
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "data.csv", index=False)
    (triplet,) = load([tmp_path])
    assert (triplet.judgement, triplet.votes, triplet.family) == (1, 8, "nights")
    assert triplet.p1 == tmp_path / "distort/000/001_1.png"


def test_opinion_scores_become_pairs_within_a_reference(tmp_path):
    rows = [("a", "r", 5.0), ("b", "r", 4.5), ("c", "r", 3.0), ("d", "s", 1.0)]
    pd.DataFrame(rows, columns=["file", "ref", "mos"]).to_csv(tmp_path / "labels.csv", index=False)
    pairs = {(t.p0.name, t.p1.name): t.judgement for t in load([tmp_path])}
    assert pairs == {("a", "c"): 0, ("b", "c"): 0}  # 5.0 and 4.5 are not more than 0.5 apart


def test_jnd(tmp_path):
    for part in ("p0", "p1"):
        image(tmp_path / part / "000000.png")
        image(tmp_path / part / "000001.png")
    image(tmp_path / "p0" / "000002.png")
    (tmp_path / "same").mkdir()
    for stem, same in (("000000", 1 / 3), ("000001", 7.0)):
        np.save(tmp_path / "same" / f"{stem}.npy", np.array([same], dtype=np.float32))
    pairs, problems = read_jnd(tmp_path)
    assert [(p.same, p.votes) for p in pairs] == [(pytest.approx(1 / 3), 3)]
    assert problems == [
        f"{tmp_path}/same/000001.npy: 7.0; expected a fraction in [0, 1]",
        f"{tmp_path}: 000002 is missing in p1, same",
    ]
    image(tmp_path / "p1/000000.png", (8, 8))
    status, lines = check(tmp_path)
    assert status == 2
    assert lines[:2] == [f"bad: {problem}" for problem in problems]
    assert "size (8, 8) differs from (16, 16)" in lines[2]
    assert lines[3:] == [f"{tmp_path.name}: 1 pairs, 3 votes", f"{tmp_path}: 1 good rows, 3 problems"]


def test_check_lists_every_bad_row_and_the_totals(tmp_path):
    names = ["r.png", "a.png", "b.png"]
    for name in names:
        image(tmp_path / name)
    image(tmp_path / "small.png", (8, 8))
    (tmp_path / "text.png").write_text("hello")
    path = votes_table(
        tmp_path,
        [
            (*names, 1, 2),
            (*names, 0, 0),
            (*names, -1, 2),
            (*names, float("nan"), 2),
            ("r.png", "b.png", "a.png", 1, 1),
            ("r.png", "a.png", "small.png", 1, 1),
            ("r.png", "a.png", "text.png", 1, 1),
            ("r.png", "a.png", "gone.png", 1, 1),
        ],
    )
    status, lines = check(path)
    assert status == 2
    expected = [
        f"bad: {path}:3: no votes; expected numbers ≥ 0 with a positive sum",
        f"bad: {path}:4: votes [-1.0, 2.0]",
        f"bad: {path}:5: votes [nan, 2.0]",
        f"bad: {tmp_path}/r.png: a.png and b.png judged in 2 rows",
        f"bad: {tmp_path}/text.png: not an image file",
        f"bad: {tmp_path}/gone.png: no such file",
        f"bad: {tmp_path}/small.png: size (8, 8) differs from (16, 16) of {tmp_path}/r.png",
        f"{tmp_path.name}: 5 triplets, 11 votes, 1 references",
        f"{path}: 5 good rows, 7 problems",
    ]
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)


def test_check_of_good_data(tmp_path):
    bapps(tmp_path / "cnn", [0.2, 0.8])
    assert check(tmp_path / "cnn") == (
        0,
        ["cnn: 2 triplets, 10 votes, 2 references", f"{tmp_path}/cnn: 2 good rows, 0 problems"],
    )


def test_unknown_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(ValueError, match=r"no judge/ folder, votes.csv, data.csv or labels.csv"):
        read(tmp_path)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns a, b; expected one of the formats"):
        read(tmp_path / "x.csv")
    assert check(tmp_path)[0] == 2


def test_fewest_votes():
    assert fewest_votes([0.5, 1.0, 0.0]) == 2
    assert fewest_votes([0.800000011920929, 0.0]) == 5
    assert fewest_votes([]) == 1


def test_real_votes(shared):
    triplets = load([shared / "human/mucped23"])
    assert len(triplets) == 6537
    assert sum(t.votes for t in triplets) == 9425
    assert len({t.ref for t in triplets}) == 34
