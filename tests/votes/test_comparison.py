"""Tables of agreement: each number compared with a plain computation, each data set separately."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest

from lpips_lite.votes.agreement import agreement, jnd_average_precision, leave_one_out_agreement
from lpips_lite.votes.comparison import compare
from lpips_lite.votes.exports import to_csv, to_json
from lpips_lite.votes.reliability import reliability
from lpips_lite.votes.tables import grids, to_markdown, to_text
from lpips_lite.votes.verdicts import Verdicts
from tests.conftest import ROOT


def triplets(family="f", rows=60, votes=5, seed=0, noise=0.3):
    """Return judgments of a simulated set, and the distances of a metric that is often right."""
    generator = np.random.default_rng(seed)
    truth = generator.random((2, rows))
    j = generator.binomial(votes, 1 / (1 + np.exp(-8 * (truth[0] - truth[1])))) / votes
    d = truth + noise * np.random.default_rng(seed + 1000).standard_normal((2, rows))
    columns = {"family": family, "ref": [f"r{row // 3}" for row in range(rows)], "judgement": j, "votes": float(votes)}
    return pd.DataFrame({**columns, "d0": d[0], "d1": d[1]})


def other(table, seed=5):
    """Return the same triplets under another metric."""
    generator = np.random.default_rng(seed)
    return table.assign(d0=generator.random(len(table)), d1=generator.random(len(table)))


def by_name(lines):
    return {(line.name, line.family): line for line in lines}


@pytest.mark.parametrize("count", ["triplets", "votes"])
def test_agreement_and_paired_differences(count):
    table = triplets()
    table["votes"] = np.random.default_rng(0).integers(1, 9, len(table)).astype(float)
    table["judgement"] = np.round(table["judgement"] * table["votes"]) / table["votes"]
    rival = other(table)
    found = compare({"good": Verdicts(triplets=table), "blind": Verdicts(triplets=rival)}, count=count)
    weights = table["votes"] if count == "votes" else None
    expected = [100 * agreement(t["d0"], t["d1"], t["judgement"], weights) for t in (table, rival)]
    assert [line.value for line in found.agreement] == pytest.approx(expected)
    assert all(line.low < line.value < line.high and math.isnan(line.p_value) for line in found.agreement)
    (difference,) = found.differences
    assert difference.value == pytest.approx(expected[1] - expected[0])
    assert difference.high < 0
    assert 0 < difference.p_value < 0.05
    (turned,) = compare(
        {"good": Verdicts(triplets=table), "blind": Verdicts(triplets=rival)}, "blind", count
    ).differences
    assert (turned.name, turned.value) == ("good", pytest.approx(-difference.value))


def test_ceilings_stand_wherever_a_data_sets_own_votes_allow_them():
    one, two, five = (triplets(name, votes=votes, seed=votes) for name, votes in (("1", 1), ("2", 2), ("5", 5)))
    unknown = triplets("?").assign(votes=np.nan)
    mixed = triplets("mixed", votes=5).assign(votes=[1.0] * 30 + [5.0] * 30, judgement=[1.0] * 30 + [0.6] * 30)
    found = compare({"m": Verdicts(triplets=pd.concat([one, two, five, unknown, mixed]))})
    ceilings = by_name(found.ceilings)
    families = {name: {f for n, f in ceilings if n == name} for name, _ in ceilings}
    assert families == {
        "people, leave-one-out (150 triplets)": {"2", "5", "mixed"},
        "people, p² + (1−p)²": {"5"},
        "majority of people": {"1", "2", "5", "?", "mixed"},
    }
    expected = 100 * leave_one_out_agreement(two["judgement"], two["votes"])
    assert ceilings["people, leave-one-out (150 triplets)", "2"].value == pytest.approx(expected)
    assert ceilings["people, leave-one-out (150 triplets)", "mixed"].value == pytest.approx(40)  # 3 of 5: 4 of 10 pairs


def test_counts():
    table = triplets(rows=30)
    table.loc[:4, "d1"] = table.loc[:4, "d0"]
    found = compare({"m": Verdicts(triplets=table), "n": Verdicts(triplets=other(table))})
    (part,) = found.data
    assert (part.rows, part.votes, part.references, dict(part.ties)) == (30, 150, 10, {"m": 5, "n": 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:-1], "n: 59 triplets in f; expected 60, as m has"),
        (lambda t: t.assign(judgement=0.5), "n: its judgements in f are not those of m"),
    ],
)
def test_metrics_on_other_triplets_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        compare({"m": Verdicts(triplets=triplets()), "n": Verdicts(triplets=change(triplets()))})


def test_another_order_has_no_paired_difference_and_says_so():
    table = triplets()
    found = compare({"m": Verdicts(triplets=table), "n": Verdicts(triplets=table[::-1])})
    assert found.differences == []
    assert found.notes == ["n: f is in another order than for m, so there is no paired difference"]
    assert found.agreement[0].value == pytest.approx(found.agreement[1].value)


def test_unknown_votes_are_not_counted():
    verdicts = {"m": Verdicts(triplets=triplets().assign(votes=np.nan), slope=1.0)}
    with pytest.raises(ValueError, match="m: the number of votes of f is unknown"):
        compare(verdicts, count="votes")
    assert compare(verdicts).reliability == {}


def test_against_is_a_metric():
    with pytest.raises(ValueError, match="against 'x': expected one of the metrics m"):
        compare({"m": Verdicts(triplets=triplets())}, "x")


def test_families_come_in_the_order_of_the_data_but_for_those_named_first():
    table = pd.concat([triplets("z"), triplets("a"), triplets("b")])
    verdicts = {"m": Verdicts(triplets=table)}
    assert [part.family for part in compare(verdicts).data] == ["z", "a", "b"]
    assert [part.family for part in compare(verdicts, order=("b", "x", "a")).data] == ["b", "a", "z"]


# -- reliability -----------------------------------------------------------------------------------------------------


def test_reliability_is_a_plain_count():
    generator = np.random.default_rng(0)
    d0, d1, votes = generator.random(500), generator.random(500), generator.integers(1, 6, 500)
    j = generator.binomial(votes, 0.4) / votes
    bins = reliability(d0, d1, j, votes, 3.0)
    assert len(bins) == 10
    assert sum(part.votes for part in bins) == votes.sum()
    share = 1 / (1 + np.exp(-3.0 * (d0 - d1)))
    for part in bins:
        inside = (share >= part.low) & (share < part.high)
        if inside.any():
            assert part.actual == pytest.approx((j * votes)[inside].sum() / votes[inside].sum())
            assert part.predicted == pytest.approx(np.average(share[inside], weights=votes[inside]))
        else:
            assert part.votes == 0


def test_votes_that_follow_the_prediction_lie_on_the_diagonal():
    generator = np.random.default_rng(0)
    gap = generator.normal(0, 0.3, 20_000)
    j = generator.binomial(1, 1 / (1 + np.exp(-10 * gap)))
    for part in reliability(gap, np.zeros_like(gap), j, np.ones_like(gap), 10.0):
        assert part.actual == pytest.approx(part.predicted, abs=0.05)


@pytest.mark.parametrize("slope", [1e6, 1e9])
def test_certain_predictions_are_in_the_outer_bins(slope):
    bins = reliability([1, 0, 1], [0, 1, 1], [1, 0, 0.5], [1, 1, 2], slope)
    assert [part.votes for part in bins] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 1]


# -- JND -------------------------------------------------------------------------------------------------------------


def pairs(rows=60, seed=0, own=True):
    generator = np.random.default_rng(seed)
    same = generator.integers(0, 4, rows) / 3
    refs = [f"r{row if own else row // 10}" for row in range(rows)]
    table = pd.DataFrame({"family": "jnd", "ref": refs, "same": same, "votes": 3.0})
    return table.assign(d=generator.random(rows) - 0.5 * same), table.assign(d=generator.random(rows))


def test_jnd_average_precision_with_intervals_and_paired_differences():
    good, blind = pairs()
    found = compare({"good": Verdicts(pairs=good), "blind": Verdicts(pairs=blind)})
    expected = [100 * jnd_average_precision(t["d"], t["same"]) for t in (good, blind)]
    assert [line.value for line in found.precision] == pytest.approx(expected)
    assert all(line.low < line.value < line.high for line in found.precision)
    (difference,) = found.precision_differences
    assert difference.value == pytest.approx(expected[1] - expected[0])
    assert difference.high < 0 < difference.p_value < 0.05
    assert (found.agreement, found.ceilings, found.differences) == ([], [], [])


def test_jnd_pairs_of_a_reference_are_drawn_together():
    widths = []
    for own in (True, False):
        good, _ = pairs(rows=200, own=own)
        good["d"], good["same"] = (
            good[column].iloc[np.repeat(np.arange(0, 200, 10), 10)].values for column in ("d", "same")
        )
        (line,) = compare({"m": Verdicts(pairs=good)}).precision
        widths.append(line.high - line.low)
    assert widths[1] > 1.5 * widths[0]  # equal pairs of a reference are not independent


def test_one_reference_has_no_interval_and_jnd_needs_somebody_who_said_same():
    good, _ = pairs()
    found = compare({"m": Verdicts(pairs=good.assign(ref="r"), triplets=triplets().assign(ref="r"))})
    for line in (*found.precision, *found.agreement):
        assert math.isnan(line.low)
    assert found.notes == [f"{family}: one reference, so no interval" for family in ("f", "jnd")]
    assert "nan" not in to_text(grids(found))
    with pytest.raises(ValueError, match="jnd: nobody called any pair the same"):
        compare({"m": Verdicts(pairs=good.assign(same=0.0))})


# -- text ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both():
    table = pd.concat([triplets("f"), triplets("g", votes=1, seed=3)])
    jnd = pairs()
    return compare(
        {
            "a|b": Verdicts("made by", 4.0, table, jnd[0]),
            "n": Verdicts(triplets=other(table), pairs=jnd[1]),
            "half": Verdicts(triplets=other(table)[table["family"].to_numpy() == "f"]),
        }
    )


def test_all_formats_tell_the_same(both):
    document = json.loads(to_json(both))
    frame = pd.read_csv(io.StringIO(to_csv(both))).set_index(["metric", "family"])
    text, markdown = to_text(grids(both)), to_markdown(grids(both))
    for entry in document["results"]:
        (measure,) = {"agreement", "average_precision"} & entry.keys()
        row = frame.loc[entry["metric"], entry["family"]]
        assert row[measure] == pytest.approx(entry[measure])
        assert row["low"] == pytest.approx(entry["low"])
        cell = f"{entry[measure]:.2f} [{entry['low']:.1f}, {entry['high']:.1f}]"
        assert cell in text
        assert cell in markdown
    for entry in document["differences"]:
        row = frame.loc[entry["metric"], entry["family"]]
        assert row["p_value"] == pytest.approx(entry["p_value"])
        assert f"p = {entry['p_value']:.3f}" in text
    for entry in document["ceilings"]:
        assert frame.loc[(entry["ceiling"], entry["family"]), "agreement"] == pytest.approx(entry["agreement"])
    assert r"| a\|b |" in markdown


def test_json_holds_what_the_docs_list(both):
    document = json.loads(to_json(both, "a source"))
    told = (ROOT / "docs/agreement.md").read_text(encoding="utf-8").partition("## JSON")[2]
    entries = [entry for key, part in document.items() if isinstance(part, list) and key != "notes" for entry in part]
    for key in {*document, *(key for entry in entries for key in entry)}:
        assert f"`{key}`" in told, key
    assert list(document) == [
        *("source", "counts", "against", "signatures", "data", "ceilings", "results", "differences", "alpha"),
        *("reliability", "notes"),
    ]
    assert document["signatures"] == {"a|b": "made by", "n": None, "half": None}
    assert document["data"][1] == {
        **{"family": "g", "kind": "triplets", "rows": 60, "votes": 60, "references": 20},
        "ties": {"a|b": 0, "n": 0},
    }
    assert {entry["kind"] for entry in document["data"]} == {"triplets", "pairs"}
    assert len(document["reliability"]) == 20  # ten bins of each family
    for entry in document["reliability"]:
        assert list(entry) == ["metric", "family", "from", "to", "votes", "predicted", "actual"]
        assert (entry["actual"] is None) == (entry["votes"] == 0)
    means = [line.split(",")[:2] for line in to_csv(both).splitlines() if ",mean," in line]
    assert ["half", "mean"] not in means  # which lacks a family
    assert ["n", "mean"] in means
