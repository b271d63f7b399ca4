"""The pages: a template, script and style sheet for people who vote, and a template for the experimenter."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markdown_it import MarkdownIt

from lpips_lite import __version__
from lpips_lite.votes.collect.study import Settings

TYPES = {"page.css": "text/css", "page.js": "text/javascript", "watch.js": "text/javascript"}
QUESTIONS = {"closer": "Which image is closer to the original?", "same": "Do the two images look the same?"}
WELCOME = {
    "closer": "You will see an original image and two copies of it. Choose the copy that looks closer to the original.",
    "same": "You will see two images. Say whether they look the same to you.",
}


@cache
def source(name: str) -> str:
    """Return a file of this package as text."""
    return (files("lpips_lite.votes.collect") / name).read_text(encoding="utf-8")


@cache
def page_version() -> str:
    """Return eight hexadecimal digits that change whenever the page changes."""
    parts = [source(name) for name in ("page.html.j2", "page.css", "page.js")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source(name))


def render_page(settings: Settings, instructions: str | None) -> str:
    """Return the page on which people vote.

    Args:
        settings: Settings of the study.
        instructions: Markdown that people agree to when they begin; HTML in it is shown as text.
    """
    config = {"mode": settings.mode, "view": settings.view, "ties": settings.ties, "page": page_version()}
    return _template("page.html.j2").render(
        question=QUESTIONS[settings.mode],
        mode=settings.mode,
        ties=settings.ties,
        welcome=WELCOME[settings.mode],
        consent=instructions is not None,
        instructions=None if instructions is None else MarkdownIt("commonmark", {"html": False}).render(instructions),
        config=json.dumps(config),
        version=__version__,
    )


def render_watch(**values: Any) -> str:
    """Return the experimenter's page; see `watching.overview` for values."""
    return _template("watch.html.j2").render(version=__version__, **values)
