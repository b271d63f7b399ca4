"""`lpips-votes agree`."""

from __future__ import annotations

import click


@click.command()
def agree() -> None:
    """To be written."""
