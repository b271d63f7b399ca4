"""Masks, boxes to ignore, cropping and padding: which pixels count, in the command and in Python alike."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpips_lite import LPIPS, compare, read_image
from lpips_lite.catalog import MEASURES, parse_metrics
from lpips_lite.files.decoding import decode
from lpips_lite.files.measuring import load_metrics, map_of
from lpips_lite.files.pairing import Pair
from lpips_lite.files.reading import Reader
from lpips_lite.files.settings import Settings
from tests.command import run

SIZE = (44, 48)  # height and width
BOX = (10, 8, 20, 12)


def save(path, pixels):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def boxed(*boxes, size=SIZE):
    """Return a mask that leaves boxes out."""
    mask = np.full(size, 255, np.uint8)
    for left, top, width, height in boxes:
        mask[top : top + height, left : left + width] = 0
    return mask


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """References in a/; in b/ what differs all over (0), in the box (1) and beside it (2); a mask for each."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for number in range(3):
        pixels = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        save(f"a/{number}.png", pixels)
        changed = 255 - pixels
        if number:
            changed = np.where((boxed(BOX) == 0)[..., None], changed, pixels)
        if number == 2:
            changed[30, 40] = 255 - changed[30, 40]
        save(f"b/{number}.png", changed)
        save(f"m/{number}.png", boxed(BOX))
    save("mask.png", boxed(BOX))


def floats(path):
    return read_image(path)[None]


METRICS = ["lite", "psnr", "l1", "ssim", "ssd"]
WAYS = {
    "file": (["--mask", "mask.png"], {"mask": "mask.png"}),
    "folder": (["--mask", "m"], {"mask": "m"}),
    "box": (["--ignore-box", "10,8,20,12"], {"ignore_boxes": [BOX]}),
    "both": (["--mask", "m", "--ignore-box", "10,8,5,12"], {"mask": "m", "ignore_boxes": [[10, 8, 5, 12]]}),
}


@pytest.mark.parametrize(("options", "arguments"), WAYS.values(), ids=WAYS)
def test_what_is_left_out_counts_nowhere(folder, options, arguments):
    table = compare("a", "b", metrics=METRICS, **arguments)
    assert table.identical.tolist() == [False, True, False]
    assert table.loc[1, METRICS].tolist() == [0, np.inf, 0, 1, 0]
    keep = boxed(BOX) > 0
    for row in (0, 2):
        x, y = (np.asarray(Image.open(f"{side}/{row}.png")) / 255 for side in "ba")
        assert table.psnr[row] == pytest.approx(-10 * np.log10(np.square(x - y)[keep].mean()), rel=1e-5)
        assert table.l1[row] == pytest.approx(np.abs(x - y)[keep].mean(), rel=1e-5)
        image, reference, mask = floats(f"b/{row}.png"), floats(f"a/{row}.png"), torch.tensor(keep)[None, None]
        expected = LPIPS("lite")(torch.where(mask, image, reference), reference, mask)
        assert table.lite[row] == pytest.approx(expected.item(), rel=1e-4)
    status, out, _ = run("a", "b", "-m", ",".join(METRICS), "-f", "json", *options)
    document = json.loads(out)
    assert status == 0
    assert document["signatures"] == table.attrs["signatures"]
    for found, (_, row) in zip(document["results"], table.iterrows(), strict=True):
        assert [found[key] for key in ("lite", "l1", "identical", "content")] == list(
            row[["lite", "l1", "identical", "content"]]
        )


def test_signatures_and_content_tell_masks_apart(folder):
    calls = [
        {},
        {"mask": "mask.png"},
        {"mask": "m"},
        {"ignore_boxes": [BOX]},
        {"ignore_boxes": [BOX, (0, 0, 1, 1)]},
        {"resize": "pad"},
        {"resize": "crop"},
    ]
    tables = [compare("a", "b", metrics=["l1"], **call) for call in calls]
    signatures = [table.attrs["signatures"]["l1"] for table in tables]
    assert len(set(signatures)) == len(calls)
    assert signatures[3].endswith(" ignore=10,8,20,12")
    assert signatures[2].endswith(" mask=each")
    assert tables[1].content.tolist() == tables[2].content.tolist()  # equal bytes
    assert not set(tables[0].content) & set(tables[1].content)
    again = compare("a", "b", metrics=["l1"], ignore_boxes=((0, 0, 1, 1), BOX, BOX))
    assert again.attrs["signatures"]["l1"] == signatures[4]  # order and repetition do not count
    save("mask.png", boxed((0, 0, 2, 2)))
    assert compare("a", "b", metrics=["l1"], mask="mask.png").attrs["signatures"]["l1"] != signatures[1]


def test_resume_notices_a_changed_mask(folder):
    options = ("a", "b", "-m", "l1", "-o", "r.csv")
    run(*options, "--mask", "m")
    save("m/2.png", boxed((0, 0, 3, 3)))
    assert run(*options, "--mask", "m", "--resume")[0] == 0
    resumed = Path("r.csv").read_text()
    run(*options, "--mask", "m")
    assert Path("r.csv").read_text() == resumed
    status, _, err = run(*options, "--mask", "mask.png", "--resume")
    assert status == 2
    assert "made by other metrics or settings" in err


def test_masks_in_a_list(folder):
    Path("list.csv").write_text("reference,image,Mask,kind\na/1.png,b/1.png,m/1.png,x\na/1.png,b/1.png,,y\n")
    table = compare("list.csv", metrics=["l1"])
    assert table["mask"].tolist() == ["m/1.png", ""]
    assert table.l1[0] == 0 < table.l1[1]
    assert table.content[0] != table.content[1]
    status, out, _ = run("--pairs", "list.csv", "-m", "l1", "-f", "csv")
    assert status == 0
    assert out.splitlines()[0].startswith("reference,image,mask,kind,l1,identical")
    pair = Pair(Path("a"), Path("b"), "b", {"mask": "m"}, Path("m"))
    assert pickle.loads(pickle.dumps(pair)) == pair  # on the way to torchrun's other processes


def test_a_pair_may_have_several_masks(folder):
    save("rest.png", 255 - boxed(BOX))
    Path("list.csv").write_text("reference,image,mask\na/2.png,b/2.png,mask.png\na/2.png,b/2.png,rest.png\n")
    options = ("--pairs", "list.csv", "-m", "region,lite", "-o", "r.csv", "--heatmap", "h", "--report", "p.html")
    assert run(*options, "--junit", "j.xml")[0] == 0
    rows, junit = Path("r.csv").read_text(), Path("j.xml").read_text()
    entries = json.loads(Path("p.html").read_text().partition('id="data">')[2].partition("</script>")[0])["entries"]
    assert all("image" in entry for entry in entries)
    rest, box = (entry["numbers"][0] for entry in entries)
    assert rest > 200 > box == 1
    assert (junit.count("<testcase"), junit.count(f"region = {rest:.0f}\n"), junit.count("region = 1\n")) == (2, 1, 1)
    Path("r.csv").write_text("".join(rows.splitlines(keepends=True)[:2]))
    assert run(*options, "--resume")[0] == 0
    assert Path("r.csv").read_text() == rows


def test_names_of_masks_are_those_of_references(folder):
    save("m/sub/9.png", boxed(BOX))
    status, _, err = run("a/0.png", "b/1.png", "b/2.png", "-m", "l1", "--mask", "m")
    assert status == 0
    assert "note: masks that belong to no reference, left out: m/1.png, m/2.png, m/sub/9.png\n" in err
    status, out, _ = run("--all-pairs", "a", "-m", "l1", "--mask", "m", "-f", "csv")
    assert status == 0
    assert out.count("mask=each") == 3
    save("gt/s/1.png", np.asarray(Image.open("a/1.png")))
    patterns = {"ref_pattern": "gt/{set}/{n}.png", "image_pattern": "b/{n}.png", "metrics": ["l1"], "mask": "m"}
    with pytest.raises(ValueError, match="1 of 1 references have no mask there, like gt/s/1.png; expected m/s/1.png"):
        compare(**patterns, allow_unmatched=False)
    save("m/s/1.png", boxed(BOX))
    assert compare(**patterns, allow_unmatched=True).l1.tolist() == [0]


def test_references_of_a_list_elsewhere_do_not_share_a_mask_by_chance(folder):
    for name in ("s/1.png", "t/1.png", "t/1.bmp"):
        save(name, np.asarray(Image.open("a/1.png")))
    Path("lists").mkdir()
    Path("lists/l.csv").write_text("reference,image\n../s/1.png,../b/1.png\n../t/1.png,../b/1.png\n")
    expected = "lists/../s/1.png and lists/../t/1.png would have the same mask, 1; expected a column mask"
    with pytest.raises(ValueError, match=re.escape(expected)):
        compare("lists/l.csv", metrics=["l1"], mask="m")
    same_folder = "reference,image\n../t/1.png,../b/1.png\n../t/1.bmp,../b/1.png\n../s/../t/1.png,../b/1.png\n"
    Path("lists/l.csv").write_text(same_folder)
    assert compare("lists/l.csv", metrics=["l1"], mask="m").l1.tolist() == [0, 0, 0]


def test_a_reference_without_a_mask_is_an_error_unless_allowed(folder):
    Path("m/1.png").unlink()
    expected = (
        "1 of 3 references have no mask there, like a/1.png; expected m/1.png; a white one leaves nothing out, "
        "{} compares all of these whole"
    )
    status, out, err = run("a", "b", "--mask", "m")
    assert (status, out) == (2, "")
    assert err == f"error: --mask m: {expected.format('--allow-unmatched')}\n"
    with pytest.raises(ValueError, match=expected.format("allow_unmatched=True")):
        compare("a", "b", mask="m")
    whole, allowed = (compare("a", "b", metrics=["l1"], **o) for o in ({}, {"mask": "m", "allow_unmatched": True}))
    assert allowed.l1[1] == whole.l1[1]
    assert allowed.l1[2] < whole.l1[2]
    assert "references without a mask, compared whole: a/1.png" in allowed.attrs["notes"]


GRAY = boxed(BOX)
BAD_MASKS = {  # of one pair: a row with an error
    "another size": (boxed(size=(9, 7)), "m.png: 7×9; expected 48×44, as a/0.png"),
    "black": (0 * GRAY, "m.png: leaves nothing to compare; expected white where to compare"),
    "of 0 and 1": (GRAY // 255, "m.png: leaves nothing to compare; its brightest value is 1 of 255; expected white"),
    "colours": (np.stack([GRAY, GRAY, 255 - GRAY], axis=-1), "m.png: has colours; as a mask, expected white where"),
    "transparent": (np.stack([GRAY] * 4, axis=-1), "m.png: transparent; as a mask, expected white where to compare"),
}


@pytest.mark.parametrize(("pixels", "message"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_bad_masks_are_errors_of_their_pairs(folder, pixels, message):
    save("m.png", pixels)
    Path("list.csv").write_text("reference,image,mask\na/0.png,b/0.png,m.png\na/1.png,b/1.png,mask.png\n")
    table = compare("list.csv", metrics=["l1"])
    assert table.error[0].startswith(message)
    assert table.l1[1] == 0
    status, _, err = run("--pairs", "list.csv", "-m", "l1")
    assert status == 2
    assert f"error: {message}" in err


REFUSED = {  # before anything is compared
    "no such mask": (["--mask", "nothing"], {"mask": "nothing"}, "no such file or folder"),
    "no file": (["--mask", "/dev/zero"], {"mask": "/dev/zero"}, "/dev/zero: is a device, not an image"),
    "no masks in it": (["--mask", "empty"], {"mask": "empty"}, "empty: no image files in this folder"),
    "no meaning": (["--mask", "m", "-m", "lite,fsim,gram-lite"],
                   {"mask": "m", "metrics": ["lite", "fsim", "gram-lite"]},
                   "fsim, gram-lite have no meaning for some of the pixels; expected lite, alex"),
    "no meaning in a box": (["--ignore-box", "0,0,9,9", "-m", "ms-ssim"],
                            {"ignore_boxes": [(0, 0, 9, 9)], "metrics": ["ms-ssim"]}, "ms-ssim has no meaning for"),
    "a box without height": (["--ignore-box", "0,0,9,0"], {"ignore_boxes": [(0, 0, 9, 0)]}, "expected"),
    "a box of three": (["--ignore-box", "0,0,9"], {"ignore_boxes": [(0, 0, 9)]}, "expected"),
    "a box alone": (None, {"ignore_boxes": (0, 0, 9, 9)}, "expected boxes of whole numbers"),
    "no boxes": (None, {"ignore_boxes": 5}, "ignore_boxes=5: expected boxes of whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("options", "arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_both_doors_refuse(folder, options, arguments, message):
    Path("empty").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compare("a", "b", **arguments)
    if options:
        status, out, err = run("a", "b", *options)
        assert (status, out) == (2, "")
        assert err.count("error: ") == 1
        assert re.search(message, err)


def test_which_metrics_take_masks():
    without = [name for name, entry in MEASURES.items() if not entry.takes_mask]
    assert without == ["ms-ssim", "fsim", "fsimc", "ncc", "zncc", "gram", "gram-lite", "content", "crn", "dists"]


def test_boxes_are_clipped_but_not_lost(folder):
    table = compare("a", "b", metrics=["l1"], ignore_boxes=[(-5, 40, 9, 9)])
    assert table.attrs["notes"] == ["ignore_boxes=[(-5, 40, 9, 9)] reaches beyond 48×44 pixels; clipped"]
    save("corner.png", boxed((0, 40, 4, 4)))
    assert compare("a", "b", metrics=["l1"], mask="corner.png").l1.tolist() == table.l1.tolist()
    status, _, err = run("a/0.png", "b/0.png", "--ignore-box", "48,0,5,5")
    assert (status, err) == (2, "error: a/0.png: --ignore-box 48,0,5,5 lies outside of its 48×44 pixels\n")
    status, _, err = run("a/0.png", "b/0.png", "--ignore-box", "0,0,48,44")
    assert "b/0.png: no pixel is left to compare, after masks, boxes and resizing" in err


def test_outputs_do_not_destroy_masks(folder):
    status, _, err = run("a/0.png", "b/0.png", "--mask", "mask.png", "--heatmap", "mask.png")
    assert status == 2
    assert "--heatmap mask.png: would replace a mask, mask.png" in err
    status, _, err = run("a", "b", "--mask", "m", "--heatmap", "m/h")
    assert "--heatmap m/h: is in m, whose images are compared" in err


def one(reference, image, mask=None, **settings):
    """Decode a pair."""
    pair = Pair(Path(reference), Path(image), "pair", mask=None if mask is None else Path(mask))
    (decoded,) = decode([pair], Settings(**settings), Reader(settings.get("background", "white")))
    assert decoded.error is None
    return decoded


def test_maps_have_no_value_where_nothing_is_compared(folder):
    decoded, settings = one("a/2.png", "b/2.png", "mask.png"), Settings()
    _, values = map_of(decoded, load_metrics(parse_metrics(["lite"]), settings), settings)
    assert torch.equal(values.isnan(), torch.from_numpy(boxed(BOX) == 0))
    assert values[30, 40] > values[0, 0]
    assert torch.equal(decoded.image, (255 * read_image("b/2.png")).round().byte())  # shown as it is
    other, plain = one("a/1.png", "b/1.png", "mask.png"), one("a/1.png", "b/1.png")
    assert torch.equal(other.compared, other.reference)
    assert plain.compared is plain.image


@pytest.mark.parametrize("more", [64, 640])
def test_maps_do_not_depend_on_how_much_is_left_out(folder, more):
    """The distance and its map under a mask are those of the part that is compared, however large the rest is."""
    image = np.asarray(Image.open("a/0.png").resize((128, 64), Image.Resampling.BICUBIC))
    changed = image.copy()
    changed[20:40, 40:80] = 255 - changed[20:40, 40:80]
    rest = np.repeat(image[-1:], more, axis=0)
    save("long.png", np.concatenate([image, rest]))
    save("other.png", np.concatenate([changed, 255 - rest]))
    save("least.png", np.concatenate([image, rest[:64]]))
    save("least-other.png", np.concatenate([changed, rest[:64]]))
    metrics, found = load_metrics(parse_metrics(["lite"]), Settings()), []
    names = ["lite", "lite:max", "lite:p99"]
    for reference, changes, height in (("long.png", "other.png", more), ("least.png", "least-other.png", 64)):
        box = (0, 64, 128, height)
        table = compare(reference, changes, metrics=names, ignore_boxes=[box])
        _, values = map_of(one(reference, changes, ignore_boxes=[box]), metrics, Settings())
        assert values.nanmean().item() == pytest.approx(table.lite[0], rel=0.02)
        assert np.nanmax(values) == pytest.approx(table["lite:max"][0], rel=1e-5)
        found.append(table[names].iloc[0].tolist())
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_gray_of_16_bits_beside_bytes(folder):
    gray = np.asarray(Image.open("a/0.png").convert("L"))
    save("gray.png", gray)
    deep = gray.astype(np.uint16) * 257
    deep[9, 11] += 100  # inside the box
    Image.fromarray(deep).save("deep.png")
    assert one("gray.png", "deep.png", "mask.png").identical
    assert not one("gray.png", "deep.png").identical
    Image.fromarray(np.where(boxed(BOX) > 0, 32896, 32895).astype(np.uint16)).save("deep mask.png")
    assert torch.equal(one("gray.png", "deep.png", "deep mask.png").area, torch.from_numpy(boxed(BOX) > 0))


def test_transparency_counts_under_a_mask_as_everywhere(folder):
    opaque = np.full((*SIZE, 4), 255, np.uint8)
    for name, place in {"inside": (0, 0), "in the box": (9, 11)}.items():
        clear = opaque.copy()
        clear[place][3] = 0  # white on white
        save(f"{name}.png", clear)
    save("opaque.png", opaque)
    table = compare("opaque.png", ["inside.png", "in the box.png"], metrics=["l1"], mask="mask.png")
    assert "inside.png: differs from opaque.png only in what is transparent" in table.error[0]
    assert table.loc[1, ["identical", "l1"]].tolist() == [True, 0]


# -- crop and pad ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sizes(folder):
    """A page, one that is longer and narrower, and a mask of the first."""
    random = np.random.default_rng(1)
    pages = {"page": (50, 41), "longer": (57, 38)}
    found = {name: random.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in pages.items()}
    for name, pixels in found.items():
        save(f"{name}.png", pixels)
    save("page mask.png", boxed((1, 2, 3, 40), size=(50, 41)))
    return found


def test_crop_is_the_middle_of_both(sizes):
    decoded = one("page.png", "longer.png", "page mask.png", resize="crop")
    assert np.array_equal(decoded.reference.permute(1, 2, 0), sizes["page"][:, 1:39])
    assert np.array_equal(decoded.image.permute(1, 2, 0), sizes["longer"][3:53])
    assert np.array_equal(decoded.area, boxed((0, 2, 3, 40), size=(50, 38)) > 0)
    assert decoded.resized


def test_pad_continues_both_on_the_right_and_at_the_bottom(sizes):
    decoded = one("page.png", "longer.png", "page mask.png", resize="pad", background="#102030")
    page, longer = (np.full((57, 41, 3), (16, 32, 48), np.uint8) for _ in range(2))
    page[:50], longer[:, :38] = sizes["page"], sizes["longer"]
    assert np.array_equal(decoded.reference.permute(1, 2, 0), page)
    assert np.array_equal(decoded.image.permute(1, 2, 0), longer)
    assert np.array_equal(decoded.area, boxed((1, 2, 3, 40), size=(57, 41)) > 0)
    Image.fromarray(np.zeros((60, 9), np.uint16)).save("deep.png")
    deep = one("page.png", "deep.png", resize="pad", background="#102030")
    assert deep.image[:, 59, 40].mul(255).tolist() == pytest.approx([16, 32, 48])


def test_fixed_sizes_take_the_mask_along(sizes):
    area = one("page.png", "longer.png", "page mask.png", resize=(100, 82)).area
    assert np.array_equal(area, np.repeat(np.repeat(boxed((1, 2, 3, 40), size=(50, 41)) > 0, 2, axis=0), 2, axis=1))
    assert one("page.png", "longer.png", resize="ref").reference.shape == (3, 50, 41)


@pytest.mark.parametrize("how", ["crop", "pad", "ref", "40x40"])
def test_how_many_pairs_were_changed_is_said(sizes, how):
    save("same.png", 255 - sizes["page"])
    status, out, err = run("page.png", "same.png", "longer.png", "-m", "l1,bpp", "--resize", how, "-f", "json")
    assert status == 0
    assert err == f"note: --resize {how}: changed the size of pictures in {1 + (how == '40x40')} of 2 pairs\n"
    assert json.loads(out)["signatures"]["l1"].endswith(f" resize={how}")
    if how in ("crop", "pad"):
        notes = compare("page.png", ["same.png", "longer.png"], metrics=["l1"], resize=how).attrs["notes"]
        assert notes == [f"resize='{how}': changed the size of pictures in 1 of 2 pairs"]


def test_padding_is_bounded(sizes):
    status, _, err = run("page.png", "longer.png", "--resize", "pad", "--max-pixels", "2300")
    assert status == 2
    assert err == "error: longer.png: padded to 41×57 = 2337 pixels; expected no more than --max-pixels 2300\n"


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_resume_with_other_sizes_ends_as_one_run(sizes, how):
    options = ("page.png", "longer.png", "a/0.png", "b/0.png", "-m", "lite", "--resize", how, "-o", "r.csv")
    run(*options)
    whole = Path("r.csv").read_text()
    Path("r.csv").write_text("".join(whole.splitlines(keepends=True)[:3]))
    assert run(*options, "--resume")[0] == 0
    assert Path("r.csv").read_text() == whole
