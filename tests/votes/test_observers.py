"""Krippendorff's alpha compared with a published example and its definition, and tables of single answers."""

import math
from itertools import permutations

import numpy as np
import pytest

from lpips_lite.votes.observers import alphas, krippendorff_alpha
from lpips_lite.votes.records import Answer
from lpips_lite.votes.triplets import load, load_judgments, read
from tests.votes.data import image, table

# Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C: four observers, twelve units, some missing.
OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
HEADER = "rater,kind,ref,p0,p1,choice,method_p0,method_p1,left_out"


def counted(rows):
    units = list(zip(*rows, strict=True))
    return np.array([[unit.count(value) for value in "12345"] for unit in units])


def by_definition(counts):
    """Alpha from the coincidences of all pairs of answers to a unit, as in its definition."""
    pairs, values = np.zeros((counts.shape[1],) * 2), range(counts.shape[1])
    for unit in counts:
        answers = [value for value in values for _ in range(unit[value])]
        for a, b in permutations(range(len(answers)), 2):
            pairs[answers[a], answers[b]] += 1 / (len(answers) - 1)
    n, marginal = pairs.sum(), pairs.sum(axis=0)
    observed = pairs.sum() - np.trace(pairs)
    return 1 - (n - 1) * observed / (n**2 - (marginal**2).sum())


def test_the_published_example():
    assert krippendorff_alpha(counted(OBSERVERS)) == pytest.approx(0.743, abs=5e-4)
    two = np.array([[2, 0]] * 3 + [[1, 1]] * 4 + [[0, 2]] * 3)  # ten units, two observers, binary
    assert krippendorff_alpha(two) == pytest.approx(1 - 19 * 8 / (20**2 - 10**2 - 10**2))


def test_against_the_definition_on_any_counts():
    random = np.random.default_rng(0)
    for _ in range(50):
        counts = random.integers(0, 4, (12, 3))
        assert krippendorff_alpha(counts) == pytest.approx(by_definition(counts[counts.sum(1) > 1]), nan_ok=True)
    assert krippendorff_alpha(np.array([[3, 0], [0, 3]])) == 1
    assert math.isnan(krippendorff_alpha(np.array([[3, 0], [3, 0]])))
    assert math.isnan(krippendorff_alpha(np.array([[1, 0]])))


def test_families_people_and_intervals():
    random = np.random.default_rng(1)
    answers = [
        Answer(family, f"r{rater}", (f"{item}",), ("p0", "p1")[(item % 2) ^ (random.random() < noise)])
        for family, noise in (("sure", 0.05), ("chance", 0.5))
        for rater in range(5)
        for item in range(60)
    ]
    sure, chance = alphas([*answers, Answer("sure", "r9", ("alone",), "p0")])
    assert (sure.family, sure.raters, sure.answers) == ("sure", 6, 300)
    assert sure.low < sure.value < sure.high
    assert sure.value > 0.7
    assert chance.low < 0 < chance.high


@pytest.fixture
def images(tmp_path):
    for name in "rab":
        image(tmp_path / f"{name}.png", value=ord(name))
    return tmp_path


def test_single_answers_are_counted(images):
    lines = [
        *("r1,judged,r.png,a.png,b.png,p1,x,y,", "r2,judged,r.png,a.png,b.png,p1,x,y,"),
        "r3,judged,r.png,a.png,b.png,p0,x,y,",
        *("r4,judged,r.png,a.png,b.png,tie,x,y,", "r5,judged,r.png,a.png,b.png,p0,x,y,catch time"),
        *("r1,repeat,r.png,a.png,b.png,p0,x,y,", "r1,catch,r.png,r.png,r.png,p0,,,"),
    ]  # fmt: skip
    found = read(table(images / "answers.csv", *lines, header=HEADER))
    assert (found.layout, found.problems) == ("answers", [])
    (triplet,) = found.triplets
    assert (triplet.judgement, triplet.votes, triplet.method0, triplet.counted) == (pytest.approx(2 / 3), 3, "x", True)
    assert [answer.rater for answer in found.answers] == ["r1", "r2", "r3", "r4"]
    assert [note.what for note in found.notes] == [
        "left out 1 answers of 1 people, as the column left_out says",
        "1 answers are ties, which are not votes",
    ]


def test_what_is_wrong_with_answers(images):
    lines = [
        *("r1,judged,r.png,a.png,b.png,p1,,,", "r1,judged,r.png,a.png,b.png,p0,,,", "r2,asked,r.png,a.png,b.png,p0,,,"),
        *("r2,judged,r.png,a.png,b.png,left,,,", "r3,judged,r.png,a.png,,p0,,,", "r4,judged,r.png,a.png,a.png,p0,,,"),
    ]
    found = read(table(images / "answers.csv", *lines, header=HEADER))
    assert [f"{problem.line}: {problem.what}" for problem in found.problems] == [
        "3: r1 has already judged these images in line 2",
        "4: kind is 'asked'; expected one of judged, repeat, catch, practice",
        "5: choice is 'left'; expected one of p0, p1, tie",
        "6: choice is 'p0'; expected one of same, different",
        "7: p0 and p1 are the same file, a.png",
    ]
    empty = read(table(images / "answers.csv", "r1,catch,r.png,r.png,r.png,p0,,,", header=HEADER))
    assert "has no votes" in empty.problems[0].what


def test_same_or_different(images):
    single = ["r1,judged,r.png,a.png,,same,,,", "r2,judged,r.png,a.png,,different,,,", "r3,judged,r.png,b.png,,same,,,"]
    counts = ["r.png,a.png,1,1", "r.png,b.png,1,0"]
    tables = [
        table(images / "answers.csv", *single, header=HEADER),
        table(images / "pairs.csv", *counts, header="p0,p1,votes_same,votes_different"),
    ]
    one, other = (load_judgments([path]).jnd for path in tables)
    assert one == other
    assert [(pair.p1.name, pair.same, pair.votes) for pair in one] == [("a.png", 0.5, 2), ("b.png", 1, 1)]
    with pytest.raises(ValueError, match="holds pairs, same or different; expected triplets"):
        load(tables[:1])
    wrong = read(table(images / "pairs.csv", "r.png,a.png,0,0", header="p0,p1,votes_same,votes_different"))
    assert "no votes" in wrong.problems[0].what
