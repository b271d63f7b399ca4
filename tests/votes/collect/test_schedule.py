"""Trials of a person: numbers, order and sides, for any settings."""

from random import Random

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from lpips_lite.votes.collect.schedule import GAP, plan
from lpips_lite.votes.collect.study import Settings, as_text, from_text


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    judged=st.integers(1, 80),
    trials=st.integers(1, 60),
    repeats=st.integers(0, 12),
    catches=st.integers(0, 12),
    practice=st.integers(0, 4),
    catch_items=st.integers(0, 20),
    seed=st.integers(0, 10**6),
)
def test_numbers_order_and_sides(judged, trials, repeats, catches, practice, catch_items, seed):
    settings = Settings(trials=trials, repeats=repeats, catches=catches, practice=practice)
    numbers = list(range(100, 100 + catch_items))
    slots = plan(settings, judged, numbers, Random(seed))
    kinds = [slot.kind for slot in slots]
    count = min(judged, trials)
    assert kinds.count("judged") == count
    assert kinds.count("catch") == (catches if catch_items else 0)
    assert kinds[: kinds.count("practice")] == ["practice"] * (practice if catch_items else 0)
    assert kinds.count("repeat") == min(repeats, max(0, count - GAP))
    for place, slot in enumerate(slots):
        if slot.kind == "repeat":
            first = slots[slot.repeats]
            assert first.kind == "judged"
            assert first.flipped != slot.flipped
            assert sum(kind == "judged" for kind in kinds[slot.repeats + 1 : place]) >= GAP - 1
        assert (slot.item is not None) == (slot.kind in ("practice", "catch"))
    assert abs(2 * sum(slot.flipped for slot in slots if slot.kind == "judged") - count) <= 1
    assert slots == plan(settings, judged, numbers, Random(seed))


def test_every_catch_item_comes_before_one_comes_again():
    slots = plan(Settings(catches=7, practice=0), 50, [1, 2, 3], Random(0))
    counts = sorted([slot.item for slot in slots if slot.kind == "catch"].count(item) for item in (1, 2, 3))
    assert counts == [2, 2, 3]


def test_settings():
    settings = Settings(mode="same", seed=5)
    assert from_text(as_text(settings)) == settings
    assert settings.answers() == ("same", "different")
    assert Settings(ties=True).answers() == ("left", "right", "tie")
    for wrong, message in (
        ({"mode": "both"}, "mode is 'both'; expected one of closer, same"),
        ({"trials": 0}, "trials is 0; expected a whole number ≥ 1"),
        ({"mode": "same", "ties": True}, 'expected ties in mode "closer" only'),
    ):
        with pytest.raises(ValueError, match=message):
            Settings(**wrong)
