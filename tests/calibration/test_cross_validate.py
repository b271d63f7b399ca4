"""Cross-validation is honest: nothing is judged that was seen, and each number records how it was made."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from calibration import cross_validate, tune
from lpips_lite import LPIPS
from lpips_lite.votes.triplets import load

SMALL = ["--steps", "12", "--side", "48", "--copies", "9"]


def run(*arguments, start):
    options = ["--start", start, *SMALL]
    return CliRunner().invoke(cross_validate.main, [str(argument) for argument in (*arguments, *options)])


def said(result):
    return " ".join(result.output.split())


def test_references_are_dealt_to_folds_within_their_family(scores):
    triplets = load([scores])
    folds = cross_validate.split_by_reference(triplets, 0)
    assert [name for name, _, _ in folds] == [f"reference-{k}" for k in range(5)]
    for _, learnt, judged in folds:
        assert not {t.ref for t in learnt} & {t.ref for t in judged}
        assert len(learnt) + len(judged) == len(triplets)
    assert sorted(t.p0 for _, _, judged in folds for t in judged) == sorted(t.p0 for t in triplets)


@pytest.mark.parametrize("table", ["", "labels.csv"], ids=["folder", "file"])
def test_a_kind_that_is_held_out_is_not_seen(scores, table):
    triplets = load([scores])
    folds = cross_validate.split_by_kind(triplets, [scores / table])
    assert [name for name, _, _ in folds] == ["kind-1", "kind-2", "kind-3"]
    for name, learnt, judged in folds:
        mark = f"_{name[-1]}_"
        assert not any(mark in path.name for t in learnt for path in (t.p0, t.p1))
        assert all(mark in t.p0.name or mark in t.p1.name for t in judged)
        assert len(learnt) + len(judged) == len(triplets)


def test_each_fold_is_written_once_and_says_what_it_started_from(scores, start, tmp_path):
    by_kind = [scores, "--by", "kind", "--out", tmp_path]
    assert run(*by_kind, "--share", "0/2", start=start).exception is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kind-1.csv", "kind-3.csv", "run.json"]
    (tmp_path / "kind-1.csv").write_text("kept\n")
    assert run(*by_kind, start=start).exception is None
    assert (tmp_path / "kind-1.csv").read_text() == "kept\n"
    table = pd.read_csv(tmp_path / "kind-2.csv")
    expected = [t for t in load([scores]) if "_2_" in t.p0.name or "_2_" in t.p1.name]
    assert len(table) == len(expected)
    assert set(table.columns) == {"family", "ref", "judgement", "votes", "d0", "d1", "start"}
    assert np.isfinite(table[["d0", "d1"]]).all(axis=None)
    signature = LPIPS("lite", tower_weights=start, channel_weights=start).signature
    assert set(table["start"]) == {signature}
    assert json.loads((tmp_path / "run.json").read_text())["start"] == signature
    other = run(*by_kind, "--lr", "0.1", start=start)
    assert other.exit_code == 2
    assert "recipe is " in said(other)
    assert "or another --out" in said(other)


def test_the_start_has_to_be_named(scores, tmp_path):
    result = CliRunner().invoke(cross_validate.main, [str(scores), "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "Missing option '--start'" in result.output


@pytest.fixture(scope="module")
def tuned_on_one(scores, start, tmp_path_factory):
    """Weights trained on judgments of one photograph, which is elsewhere, in another format and with another name."""
    folder = tmp_path_factory.mktemp("one")
    rows = pd.read_csv(scores / "labels.csv").query("ref == 'ref3.png'")
    for name in rows["file"]:
        shutil.copy(scores / name, folder / name)
    Image.open(scores / "ref3.png").save(folder / "photo.bmp")
    rows.assign(ref="photo.bmp").to_csv(folder / "labels.csv", index=False)
    out = folder / "tuned.safetensors"
    arguments = [folder, "--out", out, "--start", start, *SMALL]
    result = CliRunner().invoke(tune.main, [str(argument) for argument in arguments])
    assert result.exception is None, result.output
    return out


@pytest.mark.parametrize("by", ["reference", "kind"])
def test_a_start_that_has_seen_one_reference_is_refused(by, scores, tuned_on_one, tmp_path):
    result = run(scores, "--by", by, "--out", tmp_path / "folds", start=tuned_on_one)
    assert result.exit_code == 2
    assert "1 of these 6 references" in said(result)
    assert "ref3.png" in said(result)
    assert not (tmp_path / "folds").exists()


def test_the_same_photograph_under_two_names_is_not_split(scores, start, tmp_path):
    folder = shutil.copytree(scores, tmp_path / "set")
    table = pd.read_csv(folder / "labels.csv")
    shutil.copy(folder / "ref0.png", folder / "ref0_again.png")
    rows = table["file"].isin(["0_1_0.05.png", "0_1_0.3.png", "0_2_0.3.png"])
    table.loc[rows, "ref"] = "ref0_again.png"
    table.to_csv(folder / "labels.csv", index=False)
    again = folder / "ref0_again.png"

    def split(seed):
        fold_of = {
            t.ref: name for name, _, judged in cross_validate.split_by_reference(load([folder]), seed) for t in judged
        }
        return fold_of[again] != fold_of[folder / "ref0.png"]

    seed = next(seed for seed in range(99) if split(seed))
    result = run(folder, "--out", tmp_path / "folds", "--seed", seed, start=start)
    assert result.exit_code == 2
    assert "has the pixels of" in said(result)


@pytest.mark.parametrize(
    "labels", [None, "no type", "one type"], ids=["votes", "a table without the column", "one kind only"]
)
def test_folds_by_kind_need_kinds(labels, scores, start, tmp_path):
    folder = shutil.copytree(scores, tmp_path / "set")
    table = pd.read_csv(folder / "labels.csv")
    if labels is None:
        rows = [(f"ref{n}.png", f"{n}_1_0.05.png", f"{n}_1_0.3.png", 1, 0) for n in range(6)]
        (folder / "labels.csv").unlink()
        table, name = pd.DataFrame(rows, columns=["ref", "p0", "p1", "votes_p0", "votes_p1"]), "votes.csv"
    else:
        table, name = table.drop(columns="type") if labels == "no type" else table.assign(type=4), "labels.csv"
    table.to_csv(folder / name, index=False)
    result = run(folder, "--by", "kind", "--out", tmp_path / "folds", start=start)
    assert result.exit_code == 2
    assert f"names {int(labels == 'one type')} kinds of distortion; expected a labels.csv with a column `type`" in said(
        result
    )
    assert not (tmp_path / "folds").exists()


@pytest.mark.parametrize("share", ["x", "2/2", "1", "0/0", "-1/2"])
def test_a_share_is_two_numbers(share, scores, start, tmp_path):
    result = run(scores, "--out", tmp_path, f"--share={share}", start=start)
    assert result.exit_code == 2
    assert "expected FIRST/EVERY with FIRST < EVERY, like 0/2" in said(result)
