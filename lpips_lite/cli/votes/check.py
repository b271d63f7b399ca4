"""`lpips-votes check`: everything that is wrong with judgments, row by row, and their totals."""

from __future__ import annotations

from pathlib import Path

import click

from lpips_lite.cli.terminal import FAILED, show
from lpips_lite.terminal import progress, say


@click.command()
@click.argument("data", metavar="DATA...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.pass_context
def check(ctx: click.Context, data: tuple[Path, ...]) -> None:
    """List everything that is wrong with DATA, and its totals; exit status 2 if anything is."""
    from lpips_lite.votes.triplets import inspect

    failed = False
    for path in data:
        try:
            problems, totals = inspect(path, progress)
        except (OSError, ValueError) as error:
            failed = True
            say(f"error: {error}")
            continue
        failed = failed or bool(problems)
        for line in (*(f"bad: {problem}" for problem in problems), *totals):
            show(line)
    ctx.exit(FAILED if failed else 0)
