"""Paths as arguments and options of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from lpips_lite.files.names import file_path


class FilePath(click.ParamType):  # type: ignore[type-arg]  # not generic in click 8.1
    """A path as it was typed."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        try:
            return file_path(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return click.Path().shell_complete(ctx, param, incomplete)


FILE_PATH = FilePath()
