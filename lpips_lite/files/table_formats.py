"""Write tables for people as plain text, Markdown, LaTeX and HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from lpips_lite.files.table_cells import BEST, SECOND, Cell, Grid, Heading

if TYPE_CHECKING:
    from jinja2 import Environment

_ESCAPED = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"},
    **{"−": "$-$", "–": "--", "∞": r"$\infty$", "×": r"$\times$", "²": r"$^2$", "…": r"\ldots{}"},
    **{"↓": r"$\downarrow$", "↑": r"$\uparrow$"},
}
_JOINED = "-,'`"  # LaTeX turns two of these into one other character
_ARROWS = {None: "", True: "↓", False: "↑"}


def to_text(grid: Grid) -> str:
    """Lay out a table in plain text, with columns in line: names to the left, numbers to the right."""
    header = [_titled(heading) for heading in grid.headings]
    cells = [[cell.text + _behind(cell.small) for cell in row] for row in grid.rows]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    line = " " + "─" * (sum(widths) + 3 * (len(widths) - 1))
    lines = [_line(header, widths, grid.headings), line]
    for place, row in enumerate(cells):
        lines += [line] * (place in grid.breaks) + [_line(row, widths, grid.headings)]
    title = [grid.title] if grid.title else []
    return "\n".join([*title, *lines, "", *grid.under]) + "\n"


def to_markdown(grid: Grid) -> str:
    """Lay out a table in Markdown: the best is bold, the second underlined, and the lines below it are a list."""
    header = [_markdown(_titled(heading)) for heading in grid.headings]
    rules = ["---:" if heading.is_number else "---" for heading in grid.headings]
    rows = [
        [_marked(cell, _markdown, "**{}**", "<u>{}</u>") + _behind(cell.small) for cell in row] for row in grid.rows
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rules, *rows)]
    under = [f"- {_markdown(text)}" for text in filter(None, [grid.legend, *grid.under])]
    title = [_markdown(grid.title), ""] if grid.title else []
    return "\n".join([*title, *lines, "", *under]) + "\n"


def to_latex(grid: Grid) -> str:
    r"""Lay out a table in LaTeX with booktabs, to be \input; the lines below it are in small type."""
    rows = [
        [_marked(cell, latex_text, r"\textbf{{{}}}", r"\underline{{{}}}") + _latex_behind(cell.small) for cell in row]
        for row in grid.rows
    ]
    header = [latex_text(_titled(heading)) for heading in grid.headings]
    for row in (header, *rows):
        if row[0][:1] in ("[", "*"):  # LaTeX would read these as an argument of the rule or line end before them
            row[0] = f"{{}}{row[0]}"
    return (
        _environment(latex=True)
        .from_string(_template("table.tex.j2"))
        .render(
            grid=grid,
            columns="".join("r" if heading.is_number else "l" for heading in grid.headings),
            header=header,
            rows=rows,
            under=[latex_text(text) for text in filter(None, [grid.legend, *grid.under])],
            title=latex_text(grid.title),
        )
    )


def to_html(grid: Grid) -> str:
    """Lay out a table as a part of a page."""
    return (
        _environment(latex=False)
        .from_string(_template("table.html.j2"))
        .render(grid=grid, header=[_titled(heading) for heading in grid.headings], best=BEST, second=SECOND)
    )


def latex_text(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(
        _ESCAPED.get(character, character) + "{}" * (character == after and character in _JOINED)
        for character, after in zip(text, f"{text[1:]} ", strict=False)
    )


def _template(name: str) -> str:
    return (files("lpips_lite.files") / name).read_text(encoding="utf-8")


def _environment(latex: bool) -> Environment:
    """Return the environment for templates; those for LaTeX have other delimiters, since LaTeX uses braces."""
    import jinja2

    if not latex:
        return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return jinja2.Environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _titled(heading: Heading) -> str:
    return f"{heading.text} {_ARROWS[heading.lower_is_closer]}".rstrip()


def _marked(cell: Cell, escape: Callable[[str], str], best: str, second: str) -> str:
    return {BEST: best, SECOND: second}.get(cell.rank, "{}").format(escape(cell.text))


def _behind(small: str) -> str:
    return f" {small}" if small else ""


def _latex_behind(small: str) -> str:
    return rf" {{\scriptsize {latex_text(small)}}}" if small else ""


def _markdown(text: str) -> str:
    r"""Escape characters that Markdown would interpret; `_` within a word needs no escape."""
    escaped = re.sub(r"([\\`*|<>\[\]~&$])", r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", escaped)


def _line(cells: Sequence[str], widths: Sequence[int], headings: Sequence[Heading]) -> str:
    padded = []
    for text, width, heading in zip(cells, widths, headings, strict=True):
        space = " " * (width - _width(text))
        padded.append(space + text if heading.is_number else text + space)
    return (" " + "   ".join(padded)).rstrip()


def _width(text: str) -> int:
    """Return the width of a text on a terminal, in columns."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
