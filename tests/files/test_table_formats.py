"""Formats of tables, read back: Markdown and LaTeX by a parser or compiler, CSV and JSON by their readers."""

import csv
import io
import json
import math
import shutil
import subprocess

import pytest
from markdown_it import MarkdownIt
from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latexwalker import LatexEnvironmentNode, LatexMacroNode, LatexWalker

from lpips_lite.files.group_table import AFTER, TableSettings, group_table
from lpips_lite.files.table_cells import Cell, Grid, Heading, to_grids
from lpips_lite.files.table_formats import latex_text, to_html, to_latex, to_markdown, to_text
from lpips_lite.files.table_records import records, to_csv, to_json

HOSTILE = r"50%_of $x$ & #1 {a} \b ~c^ <d> |e| *f* `g` [h](i)"


def grid(name="method_1"):
    rows = [
        [Cell(name), Cell("3"), Cell("0.12", 1, "[0.10, 0.14]")],
        [Cell("B"), Cell("3"), Cell("−0.20", 2)],
        [Cell("C"), Cell("3"), Cell("–")],
    ]
    headings = [Heading("method", is_number=False), Heading("n"), Heading("lite", lower_is_closer=True)]
    return Grid("a title", headings, rows, frozenset({2}), "bold: best", ["lite: lpips-lite/1.0 net=lite", HOSTILE])


def table(**settings):
    made = {"identical": False, "content": "0" * 16, "error": None}
    rows = [
        {"reference": name, "image": f"{method}/{name}", "method": method, "name": name, "psnr": value, **made}
        for method, values in (("A_1", (20.0, math.inf)), ("B", (30.0, None)))
        for name, value in zip("xy", values, strict=True)
    ]
    return group_table(rows, TableSettings(("method",), **settings), {"psnr": "lpips-lite/1.0 psnr peak=1"})


@pytest.mark.parametrize("name", ["method_1", HOSTILE, "R&amp;D"])
def test_markdown_is_the_table_that_its_parser_reads(name):
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(to_markdown(grid(name)))
    cells = [
        "".join(child.content for child in token.children if child.type in ("text", "code_inline"))
        for place, token in enumerate(tokens)
        if token.type == "inline" and tokens[place - 1].type in ("td_open", "th_open")
    ]
    assert cells[:3] == ["method", "n", "lite ↓"]
    assert [cells[place] for place in (3, 6, 9)] == [name, "B", "C"]
    assert cells[5] == "0.12 [0.10, 0.14]"
    marks = [child.type for token in tokens if token.children for child in token.children]
    assert marks.count("strong_open") == 1
    assert "<u>−0.20</u>" in to_markdown(grid(name))
    listed = [
        token
        for place, token in enumerate(tokens)
        if token.type == "inline" and tokens[place - 2].type == "list_item_open"
    ]
    assert len(listed) == 3
    assert "".join(child.content for child in listed[2].children) == HOSTILE


def latex_nodes(text):
    return LatexWalker(text, tolerant_parsing=False).get_latex_nodes()[0]


def test_latex_parses_and_has_booktabs_rules_and_marks():
    text = to_latex(grid())
    (tabular,) = [node for node in latex_nodes(text) if isinstance(node, LatexEnvironmentNode)]
    assert tabular.environmentname == "tabular"
    macros = [node.macroname for node in tabular.nodelist if isinstance(node, LatexMacroNode)]
    assert [macros.count(name) for name in ("toprule", "midrule", "bottomrule")] == [1, 2, 1]
    assert macros.count("textbf") == macros.count("underline") == 1
    assert r"\begin{tabular}{lrr}" in text
    assert r"lite $\downarrow$" in text
    assert r"\textbf{0.12} {\scriptsize [0.10, 0.14]}" in text
    assert "$-$0.20" in text
    assert all(line.count("&") == 2 for line in text.splitlines() if line.endswith(r"\\"))


def test_latex_escapes_what_it_would_read_as_commands():
    text = latex_text(HOSTILE)
    assert r"\textless{}d\textgreater{} \textbar{}e\textbar{}" in text  # for which the parser has no characters
    plain = LatexNodes2Text(math_mode="verbatim").latex_to_text(text).replace("ˆ", "^")
    assert plain == HOSTILE.translate(dict.fromkeys(map(ord, "<>|")))
    body = to_latex(grid(HOSTILE)).partition("\n")[2]
    assert all(line.count("&") - line.count(r"\&") == 2 for line in body.splitlines() if line.endswith(r"\\"))


def test_markdown_of_a_name_is_no_formula():
    assert r"| \$a\$ |" in to_markdown(grid("$a$"))  # which GitHub would typeset


def test_latex_joins_no_characters_of_a_name():
    assert latex_text("a--b---c") == "a-{}-b-{}-{}-c"
    assert latex_text("''`` -,") == "'{}'`{}` -,"
    assert latex_text("–") == "--"


def test_a_heading_is_no_argument_of_the_rule_before():
    heading = [Heading("[x]", is_number=False)]
    lines = to_latex(Grid("", heading, [[Cell("a")]])).splitlines()
    assert lines[lines.index(r"\toprule") + 1] == r"{}[x] \\"


@pytest.mark.parametrize("name", ["[ours]", "*", "**"])
def test_a_name_is_no_argument_of_the_line_before(name):
    lines = to_latex(grid(name)).splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith(f"{{}}{name} &"))
    assert lines[place - 1] == r"\midrule"


def test_latex_compiles_where_there_is_a_compiler(tmp_path):
    compiler = next((name for name in ("pdflatex", "tectonic", "lualatex") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no LaTeX on this machine; the tests above parse it")
    (tmp_path / "table.tex").write_text(to_latex(grid(HOSTILE)), encoding="utf-8")
    packages = r"\usepackage[T1]{fontenc}\usepackage{booktabs}"
    page = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    options = [] if compiler == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    subprocess.run([compiler, *options, "page.tex"], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "page.pdf").stat().st_size > 1000


def test_html_escapes_and_marks():
    text = to_html(grid(HOSTILE))
    assert "&lt;d&gt;" in text
    assert "<d>" not in text
    assert "<b>0.12</b> <small>[0.10, 0.14]</small>" in text
    assert "<u>−0.20</u>" in text


def test_plain_text_has_columns_in_line():
    lines = to_text(grid()).splitlines()
    assert lines[0] == "a title"
    assert len({line.rindex(end) for line, end in ((lines[1], "n"), (lines[3], "3"), (lines[4], "3"))}) == 1
    assert lines[5] == lines[2]


def test_records_in_csv_are_those_of_the_table():
    made = table(against="A_1", interval=True)
    (first, second) = csv.DictReader(io.StringIO(to_csv(["method", *AFTER], records(made))))
    assert (first["value"], first["n"], first["infinite"], first["against"]) == ("20.0", "2", "1", "")
    assert (second["value"], second["n"], second["difference"], second["wins"]) == ("30.0", "1", "10.0", "1.0")
    assert second["signature"] == "lpips-lite/1.0 psnr peak=1"
    assert second["low"] == ""  # one image has no interval


def test_json_has_null_for_what_it_cannot_hold():
    document = json.loads(to_json(table(statistic="max"), {"more": 1}), parse_constant=pytest.fail)
    assert [group["value"] for group in document["groups"]] == [None, 30]
    assert [group["infinite"] for group in document["groups"]] == [1, 0]
    assert document["more"] == 1
    assert document["compared"] == ["method"]
    assert any("of 1 of 2 images only" in note for note in document["notes"])


def test_a_table_of_one_group():
    (only,) = to_grids(table())
    assert to_latex(only).count(r"\midrule") == 1
