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
    """Somebody who has come to a page; `name` makes their choices the same each time."""

    def __init__(self, address, name):
        import httpx

        self.client, self.name = httpx.Client(base_url=address, timeout=60), name
        self.state = self.ask("api/join", {"consent": True})

    def ask(self, path, body):
        """Send something until it is taken, as the page does."""
        while True:
            answer = self.client.post(path, json=body)
            if answer.status_code != 429:
                answer.raise_for_status()
                return answer.json()
            time.sleep(0.1)

    def image(self, place):
        key = self.state["trials"][0]["key"]
        return pixels(io.BytesIO(self.client.get(f"image/{key}/{place}").raise_for_status().content))

    def vote(self, choose):
        """Answer all trials; `choose` takes pixels of both images, and what is random about this person's view of them."""
        while self.state["state"] == "vote":
            left, right = self.image("left"), self.image("right")
            random = Random(f"{self.name}/{min(left, right).hex()}/{max(left, right).hex()}")
            choice = choose(left, right, random)
            body = {"choice": choice, "milliseconds": 1000, "screen": SCREEN, "page": "00000000"}
            self.state = self.ask("api/vote", {"trial": self.state["trials"][0]["key"], **body})
        self.client.close()


def sure(difference, random):
    """Return the side of less harm, with the doubt of people where the two differ little."""
    return "right" if random.random() < 1 / (1 + np.exp(-2 * difference)) else "left"
