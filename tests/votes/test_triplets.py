"""Readers of human judgments: votes are read unchanged, and every problem is reported with file and line."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from lpips_lite.votes.triplets import load, load_judgments, read
from tests.votes.data import bapps, table

NIGHTS = "id,left_vote,right_vote,votes,ref_path,left_path,right_path,prompt,split,is_imagenet"


def problems(path, **options):
    """Return the line and the text of every problem."""
    return [(problem.line, problem.what) for problem in read(path, **options).problems]


# -- votes come through ------------------------------------------------------------------------------------------------


def in_method_folders(folder, votes):
    lines = [f"ref/{n}.png,dist/jpeg q50/{n}.png,dist/webp/{n}.png,{a},{b}" for n, (a, b) in enumerate(votes)]
    table(folder / "votes.csv", *lines)
    return {"method_pattern": "dist/{method}/*"}, [("jpeg q50", "webp")] * len(votes)


def in_reference_folders(folder, votes):
    table(folder / "votes.csv", *(f"{n}/r.png,{n}/a.png,{n}/b.png,{a},{b}" for n, (a, b) in enumerate(votes)))
    return {}, [(None, None)] * len(votes)


def flat_with_columns(folder, votes):
    lines = [f"r{n}.png,x{n}.png,y{n}.png,{a},{b},m{n},n" for n, (a, b) in enumerate(votes)]
    table(folder / "votes.csv", *lines, header="ref,p0,p1,votes_p0,votes_p1,method_p0,method_p1")
    return {}, [(f"m{n}", "n") for n in range(len(votes))]


def nights(folder, votes):
    lines = [f"{n},,{b / (a + b)!r},{a + b},r{n}.png,d/{n}_0.png,d/{n}_1.png,x,t,1" for n, (a, b) in enumerate(votes)]
    table(folder / "data.csv", *lines, header=NIGHTS)
    return {}, [(None, None)] * len(votes)


@pytest.mark.parametrize("layout", [in_method_folders, in_reference_folders, flat_with_columns, nights])
@settings(max_examples=20, deadline=None)
@given(votes=st.lists(st.tuples(st.integers(0, 40), st.integers(6, 40)), min_size=1, max_size=8))
def test_votes_come_through_unchanged(layout, votes):
    with tempfile.TemporaryDirectory() as name:
        options, methods = layout(Path(name), votes)
        triplets = load([Path(name)], **options)
    assert [t.votes for t in triplets] == [a + b for a, b in votes]
    assert [t.judgement for t in triplets] == [b / (a + b) for a, b in votes]
    assert [(t.method0, t.method1) for t in triplets] == methods
    assert all(t.counted for t in triplets)


@settings(max_examples=20, deadline=None)
@given(observers=st.integers(1, 9), shares=st.lists(st.floats(0, 1), min_size=1, max_size=6), declared=st.booleans())
def test_judgements_of_bapps_come_through_unchanged(observers, shares, declared):
    fractions = [round(share * observers) / observers for share in shares]
    with tempfile.TemporaryDirectory() as name:
        bapps(Path(name) / "cnn", fractions, images=False)
        found = load_judgments([Path(name)], votes_per_judgement=observers if declared else None)
    assert [t.judgement for t in found.triplets] == [float(np.float32(fraction)) for fraction in fractions]
    assert {(t.votes, t.counted) for t in found.triplets} == {(observers if declared else 1, declared)}
    assert any("votes_per_judgement" in note.what for note in found.notes) != declared


def test_soft_labels_are_not_rounded(tmp_path):
    bapps(tmp_path, [0.123456, 0.5], images=False)
    first, second = load([tmp_path])
    assert (first.judgement, second.judgement) == (float(np.float32(0.123456)), 0.5)
    assert problems(tmp_path, votes_per_judgement=2) == [(None, "0.123456 of 2 observers is not a whole number")]


def test_fractions_of_votes_weigh_but_count_nobody(tmp_path):
    path = table(tmp_path / "votes.csv", "r,a,b,0.25,0.5", "r,a,c,1e0,3.0", "r,a,d,0,1.5")
    assert [(t.judgement, t.votes, t.counted) for t in load([path])] == [
        *[(0.5 / 0.75, 0.75, False), (0.75, 4, True), (1, 1.5, False)]
    ]


def test_bapps_families(tmp_path):
    bapps(tmp_path / "val/cnn", [0.2, 0.8, 1.0], images=False)
    bapps(tmp_path / "val/color", [0.0, 0.5], images=False)
    (tmp_path / "val/cnn/p0/.DS_Store").touch()
    triplets = load([tmp_path])
    assert [(t.family, round(t.judgement, 6)) for t in triplets] == [
        *[("cnn", 0.2), ("cnn", 0.8), ("cnn", 1.0), ("color", 0.0), ("color", 0.5)],
    ]
    assert triplets[1].p1 == tmp_path / "val/cnn/p1/000001.png"
    assert load([tmp_path / "val/color"]) == triplets[3:]


def test_rows_of_nights_with_few_votes_are_counted(tmp_path):
    rows = ["0,0,1,8,r,a,b,x,train,1", "1,1,0,3,r,c,d,x,train,1", "2,1,0,5,r,e,f,x,train,1"]
    table(tmp_path / "data.csv", *rows, header=NIGHTS)
    found = load_judgments([tmp_path])
    (triplet,) = found.triplets
    assert (triplet.judgement, triplet.votes, triplet.family, triplet.p1) == (1, 8, "nights", tmp_path / "b")
    assert [note.what for note in found.notes] == ["left out 2 of 3 rows: fewer than 6 votes, by its authors' rule"]
    table(tmp_path / "data.csv", *rows[1:], header=NIGHTS)
    with pytest.raises(ValueError, match="data.csv: left out 2 of 2 rows"):
        load([tmp_path])


def test_opinion_scores_become_pairs_within_a_reference(tmp_path):
    table(tmp_path / "labels.csv", "a,r,5.0", "b,r,4.5", "c,r,3.0", "d,s,1.0", header="file,ref,mos")
    triplets = load([tmp_path])
    pairs = {(t.p0.name, t.p1.name): t.judgement for t in triplets}
    assert pairs == {("a", "c"): 0, ("b", "c"): 0}  # 5.0 and 4.5 are not more than 0.5 apart
    assert {(t.votes, t.counted) for t in triplets} == {(1, False)}


def test_jnd(tmp_path):
    bapps(tmp_path / "jnd/cnn", [1 / 3, 1], ("p0", "p1", "same"), images=False)
    bapps(tmp_path / "jnd/noise", [0], ("p0", "p1", "same"), images=False)
    pairs = load_judgments([tmp_path], votes_per_judgement=3).jnd
    assert [(p.family, p.same, p.votes) for p in pairs] == [
        *[("cnn", float(np.float32(1 / 3)), 3), ("cnn", 1, 3), ("noise", 0, 3)],
    ]
    assert not load_judgments([tmp_path / "jnd/noise"]).jnd[0].counted
    with pytest.raises(ValueError, match="jnd/cnn: holds pairs, same or different; expected triplets"):
        load([tmp_path])
    bapps(tmp_path / "2afc/cnn", [0.2], images=False)  # as BAPPS is unpacked
    both = load_judgments([tmp_path])
    assert (both.layout, len(both.jnd), both.triplets) == ("BAPPS", 3, load([tmp_path / "2afc"]))
    with pytest.raises(ValueError, match="0.2 of 2 observers is not a whole number"):
        load_judgments([tmp_path], votes_per_judgement=2)


def test_real_votes(shared):
    triplets = load([shared / "human/mucped23"], method_pattern="dist/{method}/*")
    assert len(triplets) == 6537
    assert sum(t.votes for t in triplets) == 9425
    assert len({t.ref for t in triplets}) == 34
    assert all((t.method0, t.method1) == (t.p0.parent.name, t.p1.parent.name) for t in triplets)


# -- what is wrong with rows -------------------------------------------------------------------------------------------

WRONG = {  # a line -> the message
    ",a.png,b.png,1,4": "ref is empty",
    "r.png,,b.png,1,4": "p0 is empty",
    "r.png,a.png,b.png,,4": "votes_p0 is empty",
    "r.png,b.png,./b.png,1,4": "p0 and p1 are the same file, b.png",
    "r.png,a.png,-,1,4": "p1 is '-', which stands for standard input; expected a file",
    "r.png,a.png,b.png,-1,4": "votes_p0 is '-1'; expected a number ≥ 0",
    "r.png,a.png,b.png,1,inf": "votes_p1 is 'inf'; expected a number ≥ 0",
    "r.png,a.png,b.png,nan,4": "votes_p0 is 'nan'; expected a number ≥ 0",
    "r.png,a.png,b.png,many,4": "votes_p0 is 'many'; expected a number ≥ 0",
    'r.png,a.png,b.png,1,"4,5"': "votes_p1 is '4,5'; expected a number ≥ 0",
    "r.png,a.png,b.png,1_0,4": "votes_p0 is '1_0'; expected a number ≥ 0",
    "r.png,a.png,b.png,0,0": "no votes; expected numbers ≥ 0 with a positive, finite sum",
    "r.png,a.png,b.png,1e308,1e308": "votes 1e+308 and 1e+308; expected numbers ≥ 0 with a positive, finite sum",
    "r.png,a.png,b.png,1": "4 cells; expected 5, as in the header",
    "r.png,a.png,b.png,1,4,5": "6 cells; expected 5, as in the header",
    'r.png,"a.png,b.png,1,4': "a quote that is not closed, or not at the end of its cell",
    '"r".png,a.png,b.png,1,4': "a quote that is not closed, or not at the end of its cell",
}
GOOD = [
    "r.png,a.png,b{n}.png,1,4",
    '"r.png", "a.png","b{n}.png",1,4 ',
    '"r\n1.png","a,\r\n\r.png",b{n}.png,2,0',
    "",
    ",,,,",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*WRONG, *GOOD]), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_every_wrong_row_is_told_and_hides_no_other(lines, end):
    expected, good, number = [], [], 2
    for n, line in enumerate(lines):
        if line in WRONG:
            expected.append((number, WRONG[line]))
        elif line.strip(","):
            good.append(f"b{n}.png")
        number += 1 + 3 * ("\n" in line)  # \n in one cell, \r\n and \r in another
    with tempfile.TemporaryDirectory() as name:
        text = end.join(["ref,p0,p1,votes_p0,votes_p1", *(line.format(n=n) for n, line in enumerate(lines))])
        (Path(name) / "votes.csv").write_bytes(text.encode())
        found = read(Path(name))
    assert [t.p1.name for t in found.triplets] == good
    if not expected and not good:
        expected = [(1, "no rows after the header; expected at least one")]
    said = sorted((problem.line, problem.what) for problem in found.problems)
    assert [line for line, _ in said] == [line for line, _ in expected]
    assert all(what.startswith(start) for (_, what), (_, start) in zip(said, sorted(expected), strict=True))


def test_all_that_is_wrong_with_a_row_is_told(tmp_path):
    path = table(tmp_path / "votes.csv", ",a,,x,-1")
    assert [line for line, _ in problems(path)] == [2] * 4


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("0,0,1.5,8,r,a,b,x,train,1", "right_vote is '1.5'; expected a fraction in [0, 1]"),
        ("0,0,1,some,r,a,b,x,train,1", "votes is 'some'; expected a number ≥ 0"),
        ("0,0,1,2,r,,b,x,train,1", "left_path is empty"),  # though it would be left out
        ("0,0,1,8,r,a,a,x,train,1", "left_path and right_path are the same file, a"),
    ],
)
def test_wrong_rows_of_nights(tmp_path, row, what):
    table(tmp_path / "data.csv", "1,0,1,8,r,c,d,x,train,1", row, header=NIGHTS)
    assert problems(tmp_path) == [(3, what)]


def test_wrong_opinion_scores(tmp_path):
    path = tmp_path / "scores.csv"
    rows = ["a,r,5", "b,r,good", "c,r,", ",r,2", "./a,r,1", "d,r,nan", "b,r,3"]
    table(path, *rows, header="file,ref,mos")
    assert problems(path) == [
        (3, "mos is 'good'; expected a number"),
        (4, "mos is empty"),
        (5, "file is empty"),
        (6, "./a already has a score in line 2"),
        (7, "mos is 'nan'; expected a number"),
    ]
    assert [(t.p0.name, t.p1.name) for t in read(path).triplets] == [("a", "b")]
    table(path, "a,r,3", "b,r,3", "c,s,9", header="file,ref,mos")
    assert "no two scores of one reference are more than 0.5 apart" in problems(path)[0][1]


def test_pairs_judged_again_are_noted(tmp_path):
    path = table(tmp_path / "votes.csv", "r,a,b,1,0", "s,a,b,1,0", "r,b,./a,1,0", "r,a,b,1,0")
    found = load_judgments([path])
    assert len(found.triplets) == 4
    (note,) = found.notes
    assert (
        str(note) == f"{path}:4: judges the pair of line 2 again (2 such rows); each row counts as a separate triplet"
    )


# -- what is wrong with files ------------------------------------------------------------------------------------------

ALL = (
    "the columns of votes (ref,p0,p1,votes_p0,votes_p1) or NIGHTS (ref_path,left_path,right_path,right_vote,votes) "
    "or opinion scores (file,ref,mos) or same or different (p0,p1,votes_same,votes_different) "
    "or answers (rater,kind,ref,p0,p1,choice)"
)


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"", 1, f"empty; expected {ALL}"),
        (b"\n\n", 1, f"empty; expected {ALL}"),
        (b"a,b\n1,2\n", 1, f"columns a, b; expected {ALL}"),
        (b"\n\na,b\n1,2\n", 3, f"columns a, b; expected {ALL}"),
        (b"ref;p0;p1;votes_p0;votes_p1\n", 1, f"cells are separated by semicolons; expected commas, and {ALL}"),
        (b"file\tref\tmos\n", 1, f"cells are separated by tabs; expected commas, and {ALL}"),
        (b"ref,p0,p1,votes_p0\nr,a,b,1\n", 1, f"no column votes_p1; columns ref, p0, p1, votes_p0; expected {ALL}"),
        (b"ref,p0,p1,votes_p0,votes_p1,p0\n", 1, "column p0 appears twice; expected each column once"),
        (b"ref,p0,p1,votes_p0,votes_p1,method_p1\nr,a,b,1,2,m\n", 1,
         "column method_p1 without method_p0; expected both, or none"),
        (b"ref,p0,p1,votes_p0,votes_p1\n", 1, "no rows after the header; expected at least one"),
        (b"\x89PNG\r\n\0\0", None, "not a text file; expected a CSV in UTF-8"),
        (b"\xff\xfer", None, "starts like UTF-16, but is not UTF-16 (truncated data); expected a CSV in UTF-8"),
    ],
)  # fmt: skip
def test_files_that_are_no_such_table(tmp_path, content, line, what):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    assert problems(path) == [(line, what)]
    with pytest.raises(ValueError, match=r"x.csv.*0 more; all: lpips-votes check "):
        load([path])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "votes.csv"
    path.write_text(" ref ,p0,p1,votes_p0,votes_p1,\nré.png, a ,b,1,2,\n", encoding=encoding)
    (triplet,) = load([path])
    assert (triplet.ref.name, triplet.p0.name, triplet.votes) == ("ré.png", "a", 3)


def test_names_that_pandas_takes_for_nothing(tmp_path):
    assert load([table(tmp_path / "votes.csv", "NA,null,None,1,2")])[0].p0.name == "null"


def test_folders_without_data(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(
        ValueError, match=r"no ref/ p0/ p1/ judge/ \(BAPPS 2AFC\), p0/ p1/ same/ \(BAPPS JND\), votes.csv, "
    ):
        load([tmp_path])
    table(tmp_path / "votes.csv", "r,a,b,1,2")
    table(tmp_path / "labels.csv", "a,r,1", header="file,ref,mos")
    assert problems(tmp_path) == [(None, "votes.csv and labels.csv in it; name one of them")]
    (tmp_path / "votes.csv").unlink()
    (tmp_path / "judge").mkdir()
    (tmp_path / "dist/same").mkdir(parents=True)  # a method with that name is not JND
    assert read(tmp_path).layout == "opinion scores"
    (tmp_path / "p0").mkdir()
    assert problems(tmp_path) == [(None, "no file in ref/, p0/, p1/, judge/")]


def test_a_missing_file_of_bapps_shifts_nothing(tmp_path):
    bapps(tmp_path, [0.0, 0.25, 0.5], images=False)
    (tmp_path / "p0/000001.png").unlink()
    (tmp_path / "p1/000002.jpg").touch()
    (tmp_path / "judge/000003.npy").touch()
    found = read(tmp_path)
    assert [(t.ref.stem, t.p0.stem, t.judgement) for t in found.triplets] == [("000000", "000000", 0)]
    assert sorted(map(str, found.problems)) == [
        f"{tmp_path}/p1: 000002.jpg, 000002.png differ only in their suffix; expected one of them",
        f"{tmp_path}: 000001 is missing in p0",
        f"{tmp_path}: 000003 is missing in ref, p0, p1",
    ]


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda path: np.save(path, np.array([0.2, 0.4])), "holds float64 of shape (2,); expected one number"),
        (lambda path: np.save(path, np.array(["yes"])), "holds <U3 of shape (1,); expected one number"),
        (lambda path: np.save(path, np.array([7.0])), "holds 7; expected a fraction in [0, 1]"),
        (lambda path: np.save(path, np.array([-0.1])), "holds -0.1; expected a fraction in [0, 1]"),
        (lambda path: np.save(path, np.array([np.nan])), "holds nan; expected a fraction in [0, 1]"),
        (lambda path: np.save(path, np.array([{}]), allow_pickle=True), "not a .npy file of numbers ("),
        (lambda path: path.write_text("0.2"), "not a .npy file of numbers ("),
        (lambda path: path.write_bytes(b""), "not a .npy file of numbers ("),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "not a .npy file of numbers ("),
    ],
)
@pytest.mark.parametrize("parts", [("ref", "p0", "p1", "judge"), ("p0", "p1", "same")], ids=["2AFC", "JND"])
def test_bad_judgement_files(tmp_path, parts, write, what):
    bapps(tmp_path, [0.0, 0.5, 1.0], parts, images=False)
    write(tmp_path / parts[-1] / "000001.npy")
    found = read(tmp_path)
    (problem,) = found.problems
    assert problem.file == tmp_path / parts[-1] / "000001.npy"
    assert problem.what.startswith(what)
    assert [judged.p0.stem for judged in (*found.triplets, *found.jnd)] == ["000000", "000002"]


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_load_tells_the_first_problem_and_how_to_see_all(tmp_path):
    good = table(tmp_path / "good.csv", "r,a,b,1,4")
    path = table(tmp_path / "my votes.csv", "r,a,b,1,4", "r,a,b,1,", "r,a,a,1,2", 'r,"a,b,1,2')
    message = f"{path}:3: votes_p1 is empty (2 more; all: lpips-votes check '{path}' --method-pattern '{{method}}*')"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load([good, path], method_pattern="{method}*")


def test_methods_of_paths_that_do_not_tell(tmp_path):
    path = table(tmp_path / "votes.csv", "r,out/x/1.png,out/y/1.png,1,4", "r,out/x/1.png,z.png,1,4", "r,../x,a,1,4")
    found = read(path, method_pattern="out/{method}/*")
    assert [(t.method0, t.method1) for t in found.triplets] == [("x", "y")]
    said = "does not fit method_pattern 'out/{method}/*'"
    assert list(map(str, found.problems)) == [
        f"{path}:3: p1 {tmp_path}/z.png {said}",
        f"{path}:4: p0 {tmp_path}/../x {said}",
        f"{path}:4: p1 {tmp_path}/a {said}",
    ]
    table(path, "r,a_b_c.png,x_y.png,1,4")
    (problem,) = read(path, method_pattern="{method}_{name}.png").problems
    assert problem.what.endswith("fits method_pattern '{method}_{name}.png' with a and a_b")


def test_votes_per_judgement_is_for_data_that_does_not_tell_them(tmp_path):
    found = load_judgments([table(tmp_path / "v.csv", "r,a,b,1,2")], votes_per_judgement=5)
    assert found.triplets[0].votes == 3
    assert [note.what for note in found.notes] == ["votes_per_judgement is for BAPPS' folders, and has no effect here"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method_pattern": "out/*"}, "expected the field {method}, as in out/{method}/*"),
        ({"method_pattern": "out/{method"}, "a brace that belongs to no field"),
        ({"method_pattern": "{method}*"}, "names methods, but the table has columns that name them"),
        ({"votes_per_judgement": 0}, "votes_per_judgement is 0; expected a whole number ≥ 1"),
    ],
)
def test_arguments_that_do_not_belong_to_the_data(tmp_path, options, message):
    path = table(tmp_path / "v.csv", "r,a,b,1,2,m,n", header="ref,p0,p1,votes_p0,votes_p1,method_p0,method_p1")
    with pytest.raises(ValueError, match=re.escape(message)):
        load([path], **options)
