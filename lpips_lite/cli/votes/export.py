"""`lpips-votes export`: write tables of the votes that `lpips-votes collect` has collected."""

from __future__ import annotations

from pathlib import Path

import click

from lpips_lite.cli.paths import FilePath
from lpips_lite.cli.program import Command
from lpips_lite.terminal import say

EXAMPLES = """\b
Examples:
  lpips-votes export votes.db -o votes.csv --screen
  lpips-votes export votes.db -o votes.csv --raw answers.csv

\b
The votes CSV has a row per item, with the number of people who chose each image, and method_p0,method_p1 if methods
are known; with --mode same it has votes_same,votes_different. The raw CSV has a row per answer, including practice,
repeats and catch trials. `lpips-votes agree` reads both, and computes Krippendorff's alpha from the raw CSV.

\b
--screen leaves out people who
  passed fewer than 80 % of their catch trials, of at least 4
  gave the same answer again to fewer than a third of at least 8 repeats
  chose one side in more than 90 % of at least 20 trials
  took less than 0.3 s for half of at least 10 trials
and says who was left out, and why.

\b
Exit status: 0 fine, 2 bad input or a resource that ran out, 130 interrupted.
"""
_PATH = FilePath()


@click.command(cls=Command, epilog=EXAMPLES, context_settings={"max_content_width": 120})
@click.argument("store", type=_PATH)
@click.option("-o", "--output", type=_PATH, metavar="VOTES.csv", required=True, help="Table of votes to write.")
@click.option("--raw", type=_PATH, metavar="ANSWERS.csv", help="Table of all answers to write.")
@click.option("--screen", is_flag=True, help="Leave out people who break one of the rules below.")
@click.option("--ties", type=click.Choice(["leave-out", "half"]), default="leave-out",
              help='How to count "neither": not at all, or as half a vote for each.')  # fmt: skip
def export(store: Path, output: Path, raw: Path | None, screen: bool, ties: str) -> None:
    """Write the votes in STORE as tables; this also works while they are being collected."""
    from lpips_lite.files.outputs import check_folder, check_outputs, replace_file
    from lpips_lite.votes.collect.export import raw_csv, read_store, told, votes_csv

    outputs = [("--output", output), *([("--raw", raw)] if raw else [])]
    check_outputs(outputs, [("the store", store)])
    for option, path in outputs:
        check_folder(option, path)
    study = read_store(store)
    text, notes = votes_csv(study, output.parent, screen=screen, ties="half" if ties == "half" else "leave-out")
    images = [("a judged image", path) for item in study.items.values() for path in item.images().values()]
    check_outputs(outputs, images)
    for note in notes:
        say(f"note: {note}")
    say(told(study.raters))
    replace_file(output, text.encode())
    say(f"wrote {output}")
    if raw is not None:
        replace_file(raw, raw_csv(study, raw.parent, screen=screen).encode())
        say(f"wrote {raw}")
