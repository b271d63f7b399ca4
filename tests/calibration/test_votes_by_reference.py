"""Votes by reference, and pooled by method: nothing is lost, and only votes with known methods are pooled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator

from calibration.options import load_data
from calibration.pool_by_method import methods_to_pool, pool_by_method
from calibration.votes_by_reference import ReferenceVotes, group_by_reference
from lpips_lite.votes.triplets import Triplet, load
from tests.calibration.conftest import save

STRENGTHS = torch.tensor([0.0, 0.4, 1.5, 1.2])
METHODS = ("a", "b", "c", "d")


def as_triplets(groups):
    """Turn groups back into triplets."""
    return [
        (g.family, g.files[0], g.files[1 + a], g.files[1 + b], g.methods[a], g.methods[b], pytest.approx(j), votes)
        for g in groups
        for (a, b), j, votes in zip(g.pairs.tolist(), g.judgement.tolist(), g.votes.tolist(), strict=True)
    ]


def test_judgments_are_grouped_by_reference(scores):
    triplets = load([scores])
    groups = group_by_reference(triplets)
    assert [len(group.files) for group in groups] == [10] * 6
    assert [(t.family, t.ref, t.p0, t.p1, None, None, t.judgement, t.votes) for t in triplets] == as_triplets(groups)
    drawn = groups[0].draw(4, Generator().manual_seed(0))
    assert len(drawn.files) == 5
    kept = {(drawn.files[1 + a], drawn.files[1 + b]) for a, b in drawn.pairs.tolist()}
    chosen = set(drawn.files[1:])
    assert kept == {(t.p0, t.p1) for t in triplets if t.ref == drawn.files[0] and {t.p0, t.p1} <= chosen}


def test_drawn_copies_keep_their_methods():
    group = vote(contrary=False, votes=1)[0]
    drawn = group.draw(3, Generator().manual_seed(1))
    assert list(drawn.methods) == [METHODS[int(path.parent.name[-1])] for path in drawn.files[1:]]


def vote(contrary, votes):
    """Return judgments on neighbouring methods for 8 references; those of the last one may be reversed."""
    groups = []
    for number in range(8):
        own = -STRENGTHS if contrary and number == 7 else STRENGTHS
        files = [Path("originals", f"{number}.png"), *(Path(f"folder{m}", f"{number}.jpg") for m in range(len(own)))]
        pairs = torch.tensor([[0, 1], [1, 2], [2, 3]])
        judgement = torch.sigmoid(own[pairs[:, 1]] - own[pairs[:, 0]])
        groups.append(ReferenceVotes("codec", tuple(files), METHODS, pairs, judgement, torch.full((3,), float(votes))))
    return groups


def test_votes_on_some_pairs_tell_about_all_of_them():
    for group in pool_by_method(vote(contrary=False, votes=1000)):
        assert len(group.pairs) == 6
        expected = torch.sigmoid(STRENGTHS[group.pairs[:, 1]] - STRENGTHS[group.pairs[:, 0]])
        torch.testing.assert_close(group.judgement, expected, atol=5e-3, rtol=0)
        assert (group.votes == 1).all()


def test_a_reference_departs_from_the_others_if_its_votes_are_many():
    few, many = (pool_by_method(vote(contrary=True, votes=votes)) for votes in (1, 1000))
    pair = few[0].pairs.tolist().index([0, 2])
    assert few[7].judgement[pair] > 0.5  # one vote per pair against seven: most of it was chance
    assert many[7].judgement[pair] < 0.25  # σ(−1.5) = 0.18
    assert many[0].judgement[pair] > 0.75


def test_a_methods_strength_is_that_of_its_name_not_of_its_place():
    groups = vote(contrary=False, votes=1000)
    turned = [replace(g, methods=METHODS[::-1], pairs=3 - g.pairs, files=(g.files[0], *g.files[:0:-1])) for g in groups]
    for before, after in zip(pool_by_method(groups), pool_by_method(turned), strict=True):
        at = {tuple(pair): j for pair, j in zip(after.pairs.tolist(), after.judgement.tolist(), strict=True)}
        for (a, b), j in zip(before.pairs.tolist(), before.judgement.tolist(), strict=True):
            assert at[3 - b, 3 - a] == pytest.approx(1 - j, abs=1e-4)


@pytest.mark.parametrize(
    "methods",
    [(None,) * 4, ("jpeg",) * 4, ("jpeg", "jpeg", "webp", "webp")],
    ids=["none declared", "one for all", "two copies of a reference by one"],
)
def test_votes_that_no_method_tells_apart_stay(methods):
    groups = [replace(group, methods=methods) for group in vote(contrary=False, votes=3)]
    assert methods_to_pool(groups) == []
    assert pool_by_method(groups) == groups


def test_methods_of_some_copies_are_an_error():
    groups = vote(contrary=False, votes=3)
    groups[2] = replace(groups[2], methods=("a", None, "c", None))
    with pytest.raises(ValueError, match="codec: 2 of 32 copies have no method; expected one for each, or for none"):
        pool_by_method(groups)
    image = Path("x.png")
    triplets = [Triplet("f", Path("r.png"), image, Path(f"{m}.png"), 1.0, 1.0, m, "other") for m in ("a", "b")]
    with pytest.raises(ValueError, match="x.png: method 'a', but elsewhere 'b'; expected one method"):
        group_by_reference(triplets)


# -- layouts: votes come through as they are -------------------------------------------------------------------------


def votes_csv(folder, rows, columns=("ref", "p0", "p1", "votes_p0", "votes_p1")):
    for row in rows:
        for path in row[:3]:
            save(torch.rand(3, 32, 32), folder / path)
    pd.DataFrame(rows, columns=columns).to_csv(folder / "votes.csv", index=False)
    return folder


def bapps(folder):
    """BAPPS: folders p0 and p1 are not methods."""
    for number, judgement in enumerate((0.0, 1.0, 0.0, 1.0, 1.0)):
        for part in ("ref", "p0", "p1"):
            save(torch.rand(3, 32, 32), folder / part / f"{number}.png")
        (folder / "judge").mkdir(exist_ok=True)
        np.save(folder / f"judge/{number}.npy", np.array([judgement], dtype=np.float32))
    return folder


def methods_in_folders(folder):
    """Each reference is distorted by three methods, each with its own folder."""
    rows = [
        (f"ref/{n}.png", f"{a}/{n}.png", f"{b}/{n}.png", n % 3, 1 + n)
        for n in range(4)
        for a, b in (("jpeg", "webp"), ("webp", "avif"))
    ]
    return votes_csv(folder, rows)


def one_folder_per_reference(folder):
    """Each reference is in a separate folder with its copies."""
    return votes_csv(folder, [(f"{n}/ref.png", f"{n}/weak.png", f"{n}/strong.png", 4 - n, n) for n in range(4)])


def flat(folder):
    """Everything is in one folder."""
    return votes_csv(folder, [(f"{n}.png", f"{n}_a.png", f"{n}_b.png", 1, n) for n in range(4)])


def nights(folder):
    """NIGHTS: left and right images are in separate folders."""
    rows = [(f"ref/{n}.png", f"distort/{n}_0.png", f"distort/{n}_1.png", n % 2, 6 + n) for n in range(4)]
    return_folder = votes_csv(folder, rows, ("ref_path", "left_path", "right_path", "right_vote", "votes"))
    (folder / "votes.csv").rename(folder / "data.csv")
    return return_folder


@pytest.mark.parametrize("make", [bapps, methods_in_folders, one_folder_per_reference, flat, nights])
def test_votes_come_through_unchanged_where_no_methods_are_declared(make, tmp_path):
    data = make(tmp_path / "set")
    triplets = load_data([data], [])
    groups = group_by_reference(triplets)
    assert pool_by_method(groups) == groups
    assert sorted(as_triplets(groups), key=str) == sorted(
        ((t.family, t.ref, t.p0, t.p1, None, None, t.judgement, t.votes) for t in triplets), key=str
    )


def test_a_pattern_declares_methods_for_the_data_it_names(tmp_path):
    first, second = methods_in_folders(tmp_path / "codecs"), flat(tmp_path / "flat")
    groups = group_by_reference(load_data([first, second], ["codecs={method}/*"]))
    assert {group.methods for group in groups if group.family == "codecs"} == {("jpeg", "webp", "avif")}
    assert {group.methods for group in groups if group.family == "flat"} == {(None, None)}
    assert methods_to_pool([group for group in groups if group.family == "codecs"]) == ["avif", "jpeg", "webp"]
    alone = group_by_reference(load_data([first], ["{method}/*"]))  # for all data
    assert alone[0].methods == ("jpeg", "webp", "avif")
    with pytest.raises(ValueError, match="--method-pattern codecs=.*: expected one for codecs; got also"):
        load_data([first], ["codecs={method}/*", "codecs=out/{method}/*"])


def test_columns_declare_methods(tmp_path):
    columns = ("ref", "p0", "p1", "votes_p0", "votes_p1", "method_p0", "method_p1")
    rows = [(f"{n}.png", f"{n}_a.png", f"{n}_b.png", 1, n, "jpeg", "webp") for n in range(1, 4)]
    groups = group_by_reference(load_data([votes_csv(tmp_path, rows, columns)], []))
    assert methods_to_pool(groups) == ["jpeg", "webp"]
