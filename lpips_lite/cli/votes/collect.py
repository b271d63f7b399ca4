"""`lpips-votes collect`: a page on which people vote."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from lpips_lite.cli.paths import FilePath
from lpips_lite.cli.program import Command
from lpips_lite.cli.terminal import show
from lpips_lite.terminal import progress, say

EXAMPLES = """\b
Examples:
  lpips-votes collect original codec-a codec-b codec-c --store votes.db
  lpips-votes collect triplets.csv --store votes.db --instructions consent.md --ties
  lpips-votes collect original codec-a codec-b --store votes.db --mode same --count 120
  lpips-votes collect original codec-a codec-b --store votes.db --host 0.0.0.0    # for others in the network

\b
DATA is a folder of original images and a folder for each method, with the same names in each, or a CSV with ref,p0,p1
(ref,p0 for --mode same) and, if known, method_p0,method_p1. Two addresses are printed: one for people who vote, and
one for you, to watch. Every vote is in the store before the next images are shown. Started again with the same DATA,
the command continues where it stopped. `lpips-votes export` makes tables of the votes, also while it runs.

\b
The page is not encrypted: outside a network that you trust, put it behind a server that encrypts.

\b
Exit status: 0 fine, 2 bad input or a resource that ran out, 130 interrupted, which is the way to stop it.
"""
_PATH = FilePath()


@click.command(cls=Command, epilog=EXAMPLES, context_settings={"max_content_width": 120})
@click.argument("data", metavar="DATA...", type=_PATH, nargs=-1, required=True)
@click.option(
    "--store", type=_PATH, metavar="FILE", required=True, help="File in which votes are kept; made if necessary."
)
@click.option("--mode", type=click.Choice(["closer", "same"]), default="closer",
              help="The question: which of two is closer to the original, or whether two look the same.")  # fmt: skip
@click.option("--view", type=click.Choice(["middle", "flip"]), default="middle",
              help="Show the original between the two, or in their place on request.")  # fmt: skip
@click.option("--ties", is_flag=True, help='Allow the answer "neither".')
@click.option("--count", type=click.IntRange(1), help="Triplets to make from folders.  [default: 300, or all]")
@click.option("--trials", type=click.IntRange(1), default=60, help="Largest number of judgments per person.")
@click.option("--repeats", type=click.IntRange(0), default=8, help="Number of judgments that are asked again.")
@click.option("--catches", type=click.IntRange(0), default=8, help="Number of trials with a known answer, per person.")
@click.option("--practice", type=click.IntRange(0), default=3, help="Number of practice trials.")
@click.option("--instructions", type=_PATH, metavar="FILE.md", help="Text that people read and agree to, in Markdown.")
@click.option(
    "--host", default="127.0.0.1", help="Host to listen on; other hosts than this machine get a secret in the address."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen on; 0 takes any free port.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of all random choices.")
def collect(
    data: tuple[Path, ...],
    store: Path,
    mode: str,
    view: str,
    ties: bool,
    count: int | None,
    trials: int,
    repeats: int,
    catches: int,
    practice: int,
    instructions: Path | None,
    host: str,
    port: int,
    seed: int,
) -> None:
    """Serve a page on which people say which of two images is closer to the original, until it is interrupted."""
    from lpips_lite.votes.collect.study import Settings

    settings = Settings(
        mode="same" if mode == "same" else "closer",
        view="flip" if view == "flip" else "middle",
        ties=ties,
        trials=trials,
        repeats=repeats,
        catches=catches,
        practice=practice,
        seed=seed,
    )
    try:
        from lpips_lite.votes.collect.serving import listen, prepare, serve
    except ModuleNotFoundError as error:
        raise ImportError(f'{error.name} is not installed; pip install "lpips_lite[collect]"') from error
    from lpips_lite.votes.collect.questions import gather
    from lpips_lite.votes.collect.store import Store

    text = None if instructions is None else instructions.read_text(encoding="utf-8")
    questions = gather(data, settings, count=count, progress=progress)
    for note in questions.notes:
        say(f"note: {note}")
    with Store(store, questions.items, settings, questions.digests) as opened, closing(listen(host, port)) as listening:
        server, addresses = prepare(opened, listening, instructions=text, tell=say)
        judged = sum(item.kind == "judged" for item in questions.items)
        show(f"{judged} items, {len(opened.votes())} answers so far")
        show(f"people vote at {addresses.vote}")
        show(f"you watch at {addresses.watch}")
        sys.stdout.flush()
        serve(server, listening)
