"""People without a browser, who vote over the network as the page does."""

import io
import time
from random import Random

import numpy as np
from PIL import Image

from tests.votes.collect.people import SCREEN


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).tobytes()


class Visitor:
    """A visitor of a page; `name` makes their choices reproducible."""

    def __init__(self, address, name):
        import httpx

        self.client, self.name = httpx.Client(base_url=address, timeout=60), name
        self.state = self.ask("api/join", {"consent": True})

    def ask(self, path, body):
        """Send something until it is accepted."""
        return self.send("POST", path, json=body).json()

    def send(self, method, path, **body):
        """Ask until there is an answer, as the page does, since a connection that was idle too long may be closed."""
        import httpx

        while True:
            try:
                answer = self.client.request(method, path, **body)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code != 429:
                return answer.raise_for_status()
            time.sleep(0.1)

    def image(self, place):
        key = self.state["trials"][0]["key"]
        return pixels(io.BytesIO(self.send("GET", f"image/{key}/{place}").content))

    def vote(self, choose):
        """Answer all trials.

        `choose` takes the pixels of both images and this person's source of randomness; it returns "first" or "second",
        or a side.
        """
        while self.state["state"] == "vote":
            left, right = self.image("left"), self.image("right")
            first, second = sorted([left, right])  # so that nothing depends on the sides
            chosen = choose(first, second, Random(f"{self.name}/{first.hex()}/{second.hex()}"))
            choice = (
                chosen if chosen in ("left", "right") else ("left", "right")[(chosen == "first") == (first == right)]
            )
            body = {"choice": choice, "milliseconds": 1000, "screen": SCREEN, "page": "00000000"}
            self.state = self.ask("api/vote", {"trial": self.state["trials"][0]["key"], **body})
        self.client.close()


def sure(difference, random):
    """Return the less harmed image, with doubt if both differ little; `difference` is first − second."""
    return "second" if random.random() < 1 / (1 + np.exp(-2 * difference)) else "first"
