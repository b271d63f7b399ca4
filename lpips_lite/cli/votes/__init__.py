"""The command `lpips-votes`: collect and check judgments, fit metrics to them, and measure agreement with them."""

from __future__ import annotations

from typing import Any

import click

from lpips_lite import __version__
from lpips_lite.cli.program import Program
from lpips_lite.cli.terminal import interrupts_raise
from lpips_lite.cli.votes.agree import agree
from lpips_lite.cli.votes.check import check
from lpips_lite.cli.votes.collect import collect
from lpips_lite.cli.votes.export import export
from lpips_lite.cli.votes.fit import fit


class VotesProgram(Program):
    """A program whose commands need an extra of the package."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            raise ImportError(f'{package} is not installed; pip install "lpips_lite[votes]"') from error


@click.group(cls=VotesProgram, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, hidden=True)
def main(debug: bool) -> None:
    """Collect judgments of people, check them, fit metrics to them, and measure how often metrics agree with them."""
    interrupts_raise()


for command in (collect, export, check, fit, agree):
    main.add_command(command)
