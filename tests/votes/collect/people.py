"""Images to vote on, and people who do."""

from random import Random

import numpy as np
from PIL import Image

from lpips_lite.votes.collect.schedule import plan
from lpips_lite.votes.collect.store import Store, Trial
from lpips_lite.votes.collect.study import Item, Settings, Vote

SCREEN = {"width": 1200, "height": 800, "pixel_ratio": 1.0, "fits": True, "zoomed": False, "flips": 0, "touch": False}
METHODS = {"weak": 12, "middle": 40, "strong": 90}  # and the noise that each adds


def write_folders(folder, references=4, size=(32, 32), methods=METHODS):
    """Write a folder of references and one per method; return their paths."""
    for number in range(references):
        random = np.random.default_rng(number)
        scene = np.kron(random.integers(60, 196, (4, 4, 3)), np.ones((size[0] // 4, size[1] // 4, 1)))
        for name, noise in {"original": 0, **methods}.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            pixels = (scene + noise * random.standard_normal(scene.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder / "original", [folder / name for name in methods]


def items(folder, count=12, catch_items=3):
    """Make items with files that need not exist."""
    judged = [
        Item(folder / f"r{n % 4}.png", folder / f"a{n}.png", folder / f"b{n}.png", "a", "b") for n in range(count)
    ]
    refs = [folder / f"r{n}.png" for n in range(catch_items)]
    return judged + [Item(ref, ref, ref, kind="catch", distortion="jpeg") for ref in refs]


def open_store(folder, count=12, catch_items=3, name="votes.db", **settings):
    return Store(folder / name, items(folder, count, catch_items), Settings(**settings))


def answer(store, rater, choose=lambda trial: "p0", limit=10**6, milliseconds=1200):
    """Let a person answer up to `limit` trials; return how many they answered."""
    ahead = store.ahead(rater)
    for done in range(limit):
        if not ahead.trials:
            return done
        trial = ahead.trials[0]
        ahead = store.vote(rater, trial.key, choose(trial), milliseconds, SCREEN, "0123abcd")
    return limit


def imagine(rater, listed, settings, choose, milliseconds=1200):
    """Return the votes of a person as from a store, without using one."""
    random = Random(rater)
    judged = [number for number, item in listed.items() if item.kind == "judged"]
    slots = plan(settings, len(judged), [number for number in listed if number not in judged], random)
    dealt = iter(random.sample(judged, len(judged)))
    numbers, votes = [], []
    for position, slot in enumerate(slots):
        number = {"judged": lambda: next(dealt), "repeat": lambda slot=slot: numbers[slot.repeats]}.get(
            slot.kind, lambda slot=slot: slot.item
        )()
        numbers.append(number)
        choice = choose(Trial("", slot.kind, number, slot.flipped))
        facts = (listed[number], slot.flipped, choice, milliseconds, "2026-01-01T00:00:00", SCREEN, "0123abcd")
        votes.append(Vote(rater, position, slot.kind, number, *facts))
    return votes
