"""Base classes of both programs: a group of commands that turns exceptions into exit statuses, and a command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from lpips_lite.cli.terminal import (
    close_streams,
    closed_pipes_named,
    prepare_streams,
    status_and_message,
    to_stdout_text,
)
from lpips_lite.terminal import say


class Command(click.Command):
    """A command whose help can be printed even if stdout cannot encode all characters."""

    def get_help(self, ctx: click.Context) -> str:
        return to_stdout_text(super().get_help(ctx))


class Program(click.Group):
    """A group of subcommands that turns every exception into its exit status."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **settings: Any) -> None:  # type: ignore[override]
        """Run the command and exit with its status."""
        arguments = list(sys.argv[1:] if args is None else args)
        prepare_streams()
        run = partial(super().main, arguments, prog_name, standalone_mode=False)
        status = self._guarded(run, arguments)
        sys.exit(self._guarded(close_streams, arguments) or status)

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        with closed_pipes_named():  # for --help and --version
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        with closed_pipes_named():
            return super().invoke(ctx)

    @staticmethod
    def _guarded(work: Callable[[], int | None], arguments: Sequence[str]) -> int:
        """Do the work and return its exit status, or that of an exception."""
        try:
            return work() or 0
        except (Exception, KeyboardInterrupt) as error:
            status, message = status_and_message(error)
            if "--debug" in arguments:
                say(traceback.format_exc().rstrip())
            say(message)
            return status
