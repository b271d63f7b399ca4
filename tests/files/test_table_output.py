"""The sink of groups: an incomplete run says so, and curves are written to the requested files."""

import json

from lpips_lite.files.group_table import TableSettings
from lpips_lite.files.table_output import GroupTables

SIGNATURES = {"psnr": "lpips-lite/1.0 psnr peak=1"}


def rows(*methods):
    made = {"identical": False, "content": "0" * 16, "error": None}
    return [
        {"reference": f"{n}.png", "image": f"{m}/{n}.png", "method": m, "psnr": 20.0 + n, **made}
        for m in methods
        for n in range(2)
    ]


def finished(tmp_path, taken, pairs, **settings):
    shown = []
    sink = GroupTables(TableSettings(("method",), **settings), SIGNATURES, pairs=pairs, path=tmp_path / "t.json",
                       curves=None, show=shown.append)  # fmt: skip
    for row in taken:
        sink.take(row, None)
    sink.finish()
    return "".join(shown), json.loads((tmp_path / "t.json").read_text()) if taken else None


def test_a_table_of_part_of_the_pairs_says_so(tmp_path):
    text, document = finished(tmp_path, rows("A", "B")[:3], 4)
    assert "note: of 3 of 4 pairs" in text
    assert document["notes"][0] == "of 3 of 4 pairs"
    assert "of " not in finished(tmp_path, rows("A", "B"), 4)[1]["notes"]


def test_differences_that_an_interrupt_has_made_impossible_are_left_out(tmp_path):
    text, document = finished(tmp_path, rows("A"), 4, against="B")
    assert "note: no differences: against='B': expected a value of just one of the columns" in text
    assert [group["value"] for group in document["groups"]] == [20.5]


def test_nothing_is_written_of_no_pairs(tmp_path):
    assert finished(tmp_path, [], 4) == ("", None)
    assert list(tmp_path.iterdir()) == []
