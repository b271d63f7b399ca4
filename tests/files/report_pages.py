"""Pages of reports, written of rows that are made up."""

import base64
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lpips_lite.files.decoding import Decoded
from lpips_lite.files.names import path_text
from lpips_lite.files.pairing import Pair
from lpips_lite.files.report import MOST_LISTED, Report
from lpips_lite.files.rules import parse_rule
from lpips_lite.files.summary import Summary
from lpips_lite.files.verdicts import Verdicts
from tests.conftest import ROOT

OTHER_COLUMNS = ("reference", "image", "identical", "content", "error")
INFINITY = math.inf


def read(path):
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


SCENE = read(ROOT / "examples/images/scene.png")[:, 100:228, 64:192]


def decode(pairs):
    """Give each pair the scene, the image dimmed by the last number in its name, and its names as content."""
    for pair in pairs:
        factor = float(re.findall(r"\d+", pair.name)[-1]) / 100
        yield Decoded(pair, (SCENE * factor).byte(), SCENE, content=content_of(pair))


def content_of(pair):
    return f"{pair.reference} and {pair.image}"


def draw(decoded):
    return "lite", (decoded.image.float() - decoded.reference.float()).abs().mean(dim=0) / 255


def pair_of(name):
    return Pair(Path(f"a/{name}.png"), Path(f"b/{name}.jpg"), name)


def row_of(pair, numbers, error=None, content=None):
    paths = {"reference": path_text(pair.reference), "image": path_text(pair.image)}
    return {**paths, **numbers, "identical": False, "content": content or content_of(pair), "error": error}


class Written:
    """A page written of rows, and what was told on the way."""

    def __init__(self, path, pairs, rows, *, count=100, draw=draw, decode=decode, notes=(), rules=(), **alone):
        metrics = [key for key in rows[0] if key not in (*OTHER_COLUMNS, *pairs[0].columns)]
        signatures = {metric: f"what made {metric}" for metric in metrics}
        summary, self.told, self.path = Summary(metrics, count), [], path
        verdicts = Verdicts(map(parse_rule, rules), lambda text: None, summary, keep=MOST_LISTED, **alone)
        report = Report(
            path, count=count, draw=draw, decode=decode, pairs=pairs, signatures=signatures, summary=summary,
            verdicts=verdicts, progress=lambda items, _: items, notes=notes, tell=self.told.append,
        )  # fmt: skip
        for row in rows:
            for sink in (summary, verdicts, report):
                sink.take(row, None)
        report.finish()

    @property
    def text(self):
        return self.path.read_text(encoding="utf-8")

    @property
    def data(self):
        return json.loads(re.search(r'id="data">(.*?)</script>', self.text, re.DOTALL)[1])

    @property
    def shown(self):
        """The entries with pictures."""
        return [entry for entry in self.data["entries"] if "image" in entry]

    @property
    def pictures(self):
        """The files of the pictures."""
        found = re.findall(r'<script type="text/plain" id="picture-(\d+)">(.*?)</script>', self.text)
        files = {int(place): base64.b64decode(text) for place, text in found}
        assert sorted(files) == list(range(len(found)))
        return [files[place] for place in sorted(files)]

    def picture(self, place):
        with Image.open(io.BytesIO(self.pictures[place])) as picture:
            return np.asarray(picture)

    def column(self, place):
        return [entry["numbers"][place] for entry in self.shown]
