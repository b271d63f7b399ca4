"""`lpips-votes fit`."""

from __future__ import annotations

import click


@click.command()
def fit() -> None:
    """To be written."""
