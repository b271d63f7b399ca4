"""Tables of a study, and the rules by which people are left out."""

import csv
import io
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from lpips_lite.votes.collect.export import Study, raw_csv, read_store, told, votes_csv
from lpips_lite.votes.collect.quality import RULES, look
from lpips_lite.votes.collect.study import Settings
from lpips_lite.votes.triplets import read
from tests.votes.collect.people import answer, imagine, items, open_store


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def looks(random, mistakes=0.1):
    """A person who prefers p0, except for mistakes."""
    return lambda trial: "p0" if random.random() >= mistakes else "p1"


def clicks(random):
    """A person who presses left or right at random."""
    return lambda trial: random.choice(["p0", "p1"])


def left(trial):
    return "p1" if trial.flipped else "p0"


def test_votes_and_answers(tmp_path):
    with open_store(tmp_path, ties=True, trials=10, repeats=2, catches=2, practice=1) as store:
        for choose in (lambda trial: "p0", left, lambda trial: "tie" if trial.number % 2 else "p1"):
            answer(store, store.join()[0], choose)
    study = read_store(tmp_path / "votes.db")
    text, notes = votes_csv(study, tmp_path / "tables")
    counted = rows(text)
    assert set(counted[0]) == {"ref", "p0", "p1", "votes_p0", "votes_p1", "method_p0", "method_p1"}
    assert all(row["ref"].startswith("../r") for row in counted)
    judged = [vote for vote in study.votes if vote.kind == "judged"]
    ties = sum(vote.choice == "tie" for vote in judged)
    assert sum(int(row["votes_p0"]) + int(row["votes_p1"]) for row in counted) == len(judged) - ties == 30 - ties
    assert notes == [f"{ties} votes for no difference are left out"]
    halves, _ = votes_csv(study, tmp_path, ties="half")
    assert sum(float(row["votes_p0"]) + float(row["votes_p1"]) for row in rows(halves)) == 30
    raw = rows(raw_csv(study, tmp_path))
    assert Counter(row["kind"] for row in raw) == {"judged": 30, "repeat": 6, "catch": 6, "practice": 3}
    assert {row["left"] for row in raw if row["rater"] == study.votes[15].rater} == {"p0", "p1"}
    for row in raw:
        assert (row["right"] == "p0") == (row["kind"] in ("catch", "practice")) == bool(row["distortion"])
        assert (row["width"], row["touch"], row["page"]) == ("1200", "False", "0123abcd")
    (tmp_path / "votes.csv").write_text(text.replace("../", ""))
    (tmp_path / "answers.csv").write_text(raw_csv(study, tmp_path))
    one, other = read(tmp_path / "votes.csv"), read(tmp_path / "answers.csv")
    assert not one.problems + other.problems

    def by_images(found):
        return {(t.p0.name, t.p1.name): (t.judgement, t.votes, t.method0) for t in found.triplets}

    assert by_images(one) == by_images(other)


def test_methods_only_where_all_are_known_and_pairs(tmp_path):
    with open_store(tmp_path, mode="same") as store:
        answer(store, store.join()[0], lambda trial: "same")
    text, _ = votes_csv(read_store(tmp_path / "votes.db"), tmp_path)
    assert text.startswith("p0,p1,votes_same,votes_different,method_p1\nr0.png,a0.png,1,0,a\n")
    with open_store(tmp_path, name="none.db"):
        pass
    with pytest.raises(ValueError, match="none to export"):
        votes_csv(read_store(tmp_path / "none.db"), tmp_path)


def test_who_is_left_out(tmp_path):
    settings, listed = Settings(trials=40), dict(enumerate(items(tmp_path, 60, 10), start=1))
    people = {f"good{number}": (looks(Random(number), 0), 1200) for number in range(12)}
    people |= {"random": (clicks(Random(0)), 900), "side": (left, 900), "fast": (lambda trial: "p0", 150)}
    votes = [vote for name, (choose, time) in people.items() for vote in imagine(name, listed, settings, choose, time)]
    raters = {rater.name: rater for rater in look(votes)}
    assert {name for name, rater in raters.items() if rater.left_out} == {"random", "side", "fast"}
    assert "catch" in raters["random"].left_out
    assert raters["side"].left_out == ("catch", "repeats", "side")
    assert (raters["side"].left, raters["side"].consistent) == (1, 0)
    assert raters["fast"].left_out == ("time",)
    good = raters["good0"]
    assert raters["random"].agreement < 0.75 < good.agreement
    assert (good.votes, good.catches, good.repeats, good.seconds) == (40, 8, 8, 1.2)
    study = Study(settings, listed, votes, list(raters.values()))
    text, notes = votes_csv(study, tmp_path, screen=True)
    assert sum(int(row["votes_p0"]) + int(row["votes_p1"]) for row in rows(text)) == 12 * 40
    assert f"left out fast: {RULES['time']}" in notes
    assert len(notes) == 3
    raw = raw_csv(study, tmp_path, screen=True)
    assert {row["left_out"] for row in rows(raw) if row["rater"] == "fast"} == {"time"}
    (tmp_path / "answers.csv").write_text(raw)
    assert len(read(tmp_path / "answers.csv").answers) == 12 * 40
    assert told(study.raters) == "15 people, 3 of whom break a rule of --screen"


def test_random_clicks_are_found_and_people_who_look_are_not(tmp_path):
    """Many of both kinds, with the default numbers of trials; people make a mistake in every fifth judgment."""
    settings, listed = Settings(), dict(enumerate(items(tmp_path, 200, 20), start=1))
    caught = {"random": 0, "people": 0}
    for number in range(200):
        random = Random(number)
        hard = looks(random, 0.2)

        def easy(trial, hard=hard):
            return hard(trial) if listed[trial.number].kind == "judged" else "p0"

        for kind, choose in (("random", clicks(random)), ("people", easy)):
            (rater,) = look(imagine(f"{kind}{number}", listed, settings, choose))
            caught[kind] += bool(rater.left_out)
    assert caught["random"] >= 190
    assert caught["people"] <= 6


def test_the_rules_are_said_where_the_command_is_explained():
    from lpips_lite.cli.votes.export import EXAMPLES

    for rule in RULES.values():
        assert rule in EXAMPLES
    assert all(rule in (Path(__file__).parents[3] / "docs/collecting.md").read_text() for rule in RULES.values())
