"""`lpips-votes check`: list everything that is wrong with judgments, row by row, and their totals."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lpips_lite.cli.paths import FilePath
from lpips_lite.cli.terminal import FAILED, show
from lpips_lite.terminal import progress

EPILOG = """\b
Examples:
  lpips-votes check votes.csv
  lpips-votes check study/ --method-pattern "out/{method}/*"
  lpips-votes check bapps/val --votes-per-judgement 5 --format json

\b
Data:
  a CSV with ref,p0,p1,votes_p0,votes_p1 and, if known, method_p0,method_p1
  NIGHTS: data.csv with ref_path,left_path,right_path,right_vote,votes
  opinion scores: a CSV with file,ref,mos
  single answers: a CSV with rater,kind,ref,p0,p1,choice, as lpips-votes export --raw writes it
  same or different: a CSV with p0,p1,votes_same,votes_different
  BAPPS: folders with ref/ p0/ p1/ judge/, or JND with p0/ p1/ same/"""


@click.command(epilog=EPILOG)
@click.argument("data", metavar="DATA...", type=FilePath(), nargs=-1, required=True)
@click.option("--method-pattern", metavar="PATTERN", help="Pattern of image paths, relative to the folder of the "
              'data, that contains the method, like "out/{method}/*".')  # fmt: skip
@click.option("--votes-per-judgement", metavar="N", type=click.IntRange(min=1),
              help="Number of observers per judgement in BAPPS' folders, which do not contain it.")  # fmt: skip
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Format of the report.")
@click.pass_context
def check(
    ctx: click.Context, data: tuple[Path, ...], method_pattern: str | None, votes_per_judgement: int | None, style: str
) -> None:
    """List everything that is wrong with DATA, file by file and line by line, and its totals.

    The exit status is 2 if anything is wrong, or if there is no data.
    """
    from lpips_lite.votes.checking import as_json, inspect

    reports = []
    for path in data:
        report = inspect(path, progress, votes_per_judgement=votes_per_judgement, method_pattern=method_pattern)
        reports.append(report)
        if style == "text":
            for line in report.lines():
                show(line)
    if style == "json":
        show(json.dumps(as_json(reports), indent=2))
    ctx.exit(FAILED if any(report.problems for report in reports) else 0)
