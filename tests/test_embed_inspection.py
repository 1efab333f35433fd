"""`embed-inspect`: what a catalogue holds is said before anything is extracted, whatever state the catalogue is in."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_catalogue
from formats import NEED_PYARROW, WRITERS
from support import ROOT, image_bytes, invoke, small_catalogue, write_catalogue

import embed.catalogue.formats.csv
import embed.extraction.extract_catalogue
import embed.inspection.cost_sample
import embed.inspection.summary
from embed import CatalogueError, InspectSettings, SettingError, WeightsError, inspect
from embed.commands.inspect import inspect as command
from embed.extraction.estimate import EncoderEstimate, Estimate
from embed.inspection.page import write_page
from embed.inspection.recommendations import Finding, list_findings
from embed.inspection.summary import render_summary
from embed.inspection.terminal import printable, render_text
from embed.settings import ExtractSettings

pytestmark = pytest.mark.slow

QUICK = InspectSettings(estimate=False)
SHOES = ["boot", "sandal", "pump", "clog"]


def shop_rows(n_products=240):
    """Return products whose article says the label, whose world follows from it, and whose colour says nothing."""
    return [
        {
            "id": f"{n:04}",
            "image": f"images/{n % 30}.png",
            "title": f"{['red', 'blue', 'green'][n % 3]} {SHOES[n % 4]} no {n // 2}",
            "category": SHOES[n % 4],
            "article": f"{SHOES[n % 4]} {n % 8}",
            "world": "closed" if n % 2 else "open",
            "colour": ["red", "blue", "green"][n * 7 % 3],
        }
        for n in range(n_products)
    ]


@pytest.fixture
def shop(tmp_path):
    images = {f"images/{n}.png": image_bytes((n, 0, 0), size=(20 + n % 2, 30)) for n in range(30)}
    return write_catalogue(tmp_path / "shop", shop_rows(), images)


def kinds(inspection):
    return {column.name: column.kind for column in inspection.columns}


def sentences(inspection):
    return [finding.text for finding in list_findings(inspection)]


def test_a_catalogue_is_described(shop):
    inspection = inspect(shop, settings=QUICK)
    assert inspection.n_rows == 240
    assert inspection.roles == {"id": "id", "image": "image", "text": "title", "label": "category"}
    assert kinds(inspection) == {
        "id": "id", "image": "picture", "title": "text", "category": "categorical", "article": "categorical",
        "world": "categorical", "colour": "categorical",
    }  # fmt: skip
    assert inspection.label.classes == [("boot", 60), ("clog", 60), ("pump", 60), ("sandal", 60)]
    assert (inspection.pictures.repeats.n_distinct, inspection.pictures.repeats.n_surplus) == (30, 210)
    assert inspection.pictures.sizes == [(20, 30, 120), (21, 30, 120)]
    assert inspection.text.repeats.n_rows == 240
    assert inspection.cost is None
    assert [product.label for product in inspection.products] == [shoe for shoe in sorted(SHOES) for _ in range(6)]


def test_columns_that_give_the_label_away_and_its_parents_are_named(shop):
    inspection = inspect(shop, settings=QUICK)
    assert {one.column: (one.is_leak, one.follows) for one in inspection.associations} == {
        "article": (True, False), "world": (False, True), "colour": (False, False)
    }  # fmt: skip
    assert any(text.startswith("article gives category away") for text in sentences(inspection))
    assert any(text.startswith("world follows from category") for text in sentences(inspection))


def test_columns_of_products_and_near_copies_of_the_label_are_named(tmp_path):
    """A handle of four rows, a copy with 3 % slips, and two columns that together tell it; noise is not named."""
    draw, rows = np.random.default_rng(0).integers, []
    for n in range(600):
        label, key = n // 4 % 3, draw(3)
        shelf = (label + 1) % 3 if n % 33 == 0 else label
        rows.append({
            "id": f"{n}", "category": f"c{label}", "handle": f"h{n // 4}", "shelf": f"s{shelf}", "key": f"{key}",
            "lock": f"{(label + key) % 3}", "noise": f"{draw(3)}", "code": f"{draw(300)}",
        })  # fmt: skip
    catalogue = write_catalogue(tmp_path / "shop", rows)
    inspection = inspect(catalogue, settings=QUICK)
    named = sentences(inspection)
    assert (
        "handle: 150 values over 600 rows, each of one category: products of one handle are alike; pass "
        "--group-column handle to heads-train."
    ) in named
    words = "nearly as a copy of it would. Is that known of products whose category is not?"
    assert f"shelf tells category in 97 % of the rows, {words}" in named
    assert f"key and lock together tell category in 100 % of the rows, {words}" in named
    assert not [text for text in named if "noise" in text or "code" in text]
    values = inspection.to_dict()
    (group_column,) = values["group_columns"]
    assert group_column == {
        "column": "handle", "n_values": 150, "n_rows": 600, "is_named": True, "told": 1.0, "is_sampled": False,
    }  # fmt: skip
    assert [one["columns"] for one in values["near_leaks"]] == [("shelf",), ("key", "lock")]
    assert "pass --group-column handle" in render_summary(inspection).replace("\n  ", " ")
    without = inspect(catalogue, settings=replace(QUICK, extract=ExtractSettings(where="category == 'c0'")))
    assert [one.column for one in without.group_columns] == ["handle"]  # by its name, where no label can tell


def test_columns_of_too_many_values_are_said_to_be_left_out(shop, monkeypatch):
    monkeypatch.setattr(
        "embed.inspection.association.MOST_PAIRS", 17
    )  # article has 8 pairs with the label, colour 12, world 4
    inspection = inspect(shop, settings=QUICK)
    assert inspection.not_compared == ["colour"]
    assert {one.column for one in inspection.associations} == {"article", "world"}
    assert "Too many values to hold against the label: colour." in render_text(inspection)


def test_batches_make_no_difference(shop, monkeypatch):
    whole = inspect(shop, settings=QUICK).to_dict()
    monkeypatch.setattr(embed.catalogue.formats.csv, "BATCH_ROWS", 7)
    apart = inspect(shop, settings=QUICK).to_dict()
    for found in (whole, apart):
        del found["elapsed_s"], found["products"]  # samples depend on how the stream is cut
    assert apart == whole


def test_a_long_catalogue_is_read_with_a_line_now_and_then(shop, monkeypatch, capsys):
    monkeypatch.setattr(embed.catalogue.formats.csv, "BATCH_ROWS", 100)
    monkeypatch.setattr(embed.catalogue.formats.csv, "PIECE_ROWS", 100)
    monkeypatch.setattr("cache.console.progress.LINE_EVERY_S", 0.0)
    inspect(shop, settings=QUICK)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said if "catalogue" in line] == [
        f"Reading the catalogue: {n} rows" for n in (100, 200, 240)
    ]
    assert "s left" in said[-1]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_looked_at_with_its_pictures(name, tmp_path, monkeypatch):
    if name in NEED_PYARROW:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    if name != next(iter(WRITERS)):  # the figures, which take most of the time, are the same
        monkeypatch.setattr("cache.pages.plot._render", lambda *_: "<svg ></svg>")
    pictures = {f"images/{n}.png": image_bytes((n % 6, 0, 0), size=(20 + n % 2, 30)) for n in range(24)}
    rows = [
        {"id": f"{n:03}", "image": f"images/{n}.png", "text": f"shoe {n}", "label": SHOES[n % 4]} for n in range(24)
    ]
    inspection = inspect(WRITERS[name](tmp_path, rows, pictures), settings=InspectSettings(estimate=False, deep=True))
    assert inspection.pictures.statuses == {"ok": 24}
    assert inspection.pictures.sizes == [(20, 30, 12), (21, 30, 12)]
    assert inspection.pictures.repeats.n_distinct == 6
    assert sorted(inspection.label.classes) == [(shoe, 6) for shoe in sorted(SHOES)]
    page = write_page(inspection, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 24


def test_the_cost_of_pictures_inside_a_shard_is_measured(tmp_path):
    pictures = {f"images/{n}.png": image_bytes((n, 0, 0)) for n in range(6)}
    rows = [{"id": f"{n}", "image": f"images/{n}.png", "text": f"shoe {n}", "label": "shoe"} for n in range(6)]
    extract = ExtractSettings(modalities=("image",), device="cpu")
    inspection = inspect(WRITERS["shards"](tmp_path, rows, pictures), settings=InspectSettings(extract=extract))
    assert [(one.name, one.n_contents) for one in inspection.cost.encoders] == [("image/resnet18", 6)]


def test_the_same_seed_draws_the_same_products(shop):
    first, again, other = (
        inspect(shop, settings=InspectSettings(estimate=False, seed=seed)).products for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_repeated_ids_are_shown_and_not_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embed.catalogue.formats.csv, "BATCH_ROWS", 3)
    rows = shop_rows(12)
    rows[5]["id"] = rows[9]["id"] = rows[1]["id"]
    rows[8]["id"] = rows[4]["id"]
    rows[7] = {**rows[3], "id": "own"}
    inspection = inspect(write_catalogue(tmp_path, rows), settings=QUICK)
    assert [(one.example, one.n_rows, one.row) for one in inspection.repeated_ids.largest] == [
        ("0001", 3, 1),
        ("0004", 2, 4),
    ]
    assert [(one.example, one.row) for one in inspection.text.repeats.largest] == [(rows[3]["title"], 3)]
    assert (inspection.repeated_rows.n_surplus, inspection.repeated_rows.largest[0].row) == (1, 3)
    assert "3 repeated ids ('0001' 3 times, '0004' 2 times): extraction refuses such a catalogue." in " ".join(
        sentences(inspection)
    )


def test_pictures_that_are_not_there_are_counted_and_named(tmp_path):
    path = draw_catalogue(tmp_path, n_products=400)
    inspection = inspect(path, settings=InspectSettings(estimate=False, deep=True))
    statuses = dict(inspection.pictures.statuses)
    assert statuses == {"ok": 391, "empty": 2, "missing": 2, "not_an_image": 3, "truncated": 2}
    assert {one.status for one in inspection.pictures.bad} == {"empty", "missing", "not_an_image", "truncated"}
    text = render_text(inspection)
    assert "9 of 400 pictures would get no vector: 2 empty, 2 missing, 3 not_an_image, 2 truncated." in " ".join(
        text.split()
    )
    assert text.count("\n  missing: ") == 2


def test_no_picture_at_all_is_no_error(tmp_path):
    inspection = inspect(write_catalogue(tmp_path, shop_rows(5)), settings=QUICK)
    assert inspection.pictures.statuses == {"missing": 5}
    assert any("--image-root" in text for text in sentences(inspection))
    assert "missing: 'images/0.png' of 0000" in render_text(inspection)


def test_pictures_of_a_format_that_is_not_read_are_not_sought_elsewhere(tmp_path):
    path = write_catalogue(tmp_path, shop_rows(5))
    (tmp_path / "images").mkdir(exist_ok=True)
    for n in range(5):
        (tmp_path / f"images/{n}.png").write_bytes(b"\0\0\0\x18ftypheic" + bytes([n]) * 300)
    inspection = inspect(path, settings=InspectSettings(estimate=False, deep=True))
    assert inspection.pictures.statuses == {"not_an_image": 5}
    said = " ".join(sentences(inspection))
    assert "The files are there: convert them" in said
    assert "--image-root" not in said


def test_pictures_of_a_large_catalogue_are_sampled_and_it_is_said(shop):
    inspection = inspect(shop, settings=InspectSettings(estimate=False, most_pictures=50))
    assert (inspection.pictures.n_looked_at, inspection.pictures.n_rows) == (50, 240)
    assert any("a sample of 50 of 240 rows" in text for text in sentences(inspection))


def test_label_that_was_named_is_looked_at_and_must_be_there(shop):
    inspection = inspect(shop, settings=InspectSettings(estimate=False, label="colour"))
    assert inspection.label.column == "colour"
    with pytest.raises(CatalogueError, match=r"--label: expected one of the catalogue's columns \(id, .*'shoes'"):
        inspect(shop, settings=InspectSettings(estimate=False, label="shoes"))


def test_lists_of_a_label_that_is_named_are_read(tmp_path):
    lines = [{"id": n, "text": f"no {n}", "kinds": ["a", f"b{n % 2}"]} for n in range(40)]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    inspection = inspect(path, settings=InspectSettings(label="kinds", estimate=False))
    assert inspection.label.classes == [('["a", "b0"]', 20), ('["a", "b1"]', 20)]


def test_catalogue_without_usual_names_is_described_with_hints(tmp_path):
    inspection = inspect(write_catalogue(tmp_path, [{"a": "1", "b": "x"}, {"a": "2", "b": "x"}]), settings=QUICK)
    assert (inspection.roles, inspection.label, inspection.text, inspection.pictures) == ({}, None, None, None)
    said = " ".join(sentences(inspection))
    assert all(option in said for option in ("--label", "--image-column", "--text-column"))
    assert "No label" not in render_text(inspection)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([str(n) for n in range(30)], "0 classes of label with 10 rows or more, and training needs two: nearly every"),
        (["mug"] * 28 + ["rug"] * 2, "1 class of label with 10 rows or more, and training needs two: lower --min-rows"),
    ],
    ids=["ids", "one class"],
)
def test_a_label_of_which_training_would_keep_no_two_classes_is_named(tmp_path, labels, words):
    rows = [{"id": str(n), "text": f"thing {n}", "label": label} for n, label in enumerate(labels)]
    inspection = inspect(write_catalogue(tmp_path, rows), settings=QUICK)
    assert [finding.is_bad for finding in list_findings(inspection) if finding.text.startswith(words)] == [True]


def test_numbers_that_are_one_look_alike(tmp_path):
    rows = [{"id": str(n), "text": f"thing {n}", "label": ["1", "1.0", "01", "2"][n % 4]} for n in range(60)]
    inspection = inspect(write_catalogue(tmp_path, rows), settings=QUICK)
    assert any("('01' = '1' = '1.0')" in finding.text for finding in list_findings(inspection))


def test_columns_that_may_be_the_label_are_named(tmp_path):
    rows = [{"id": str(n), "text": f"thing {n}", "Warengruppe": ["mug", "rug"][n % 2]} for n in range(40)]
    inspection = inspect(write_catalogue(tmp_path, rows), settings=QUICK)
    assert any(
        "--label names the label. Warengruppe may be one." in finding.text for finding in list_findings(inspection)
    )


@pytest.mark.parametrize(
    ("between", "is_told"), [(" > ", True), (" \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ", True), ("-", False)]
)
def test_labels_that_are_paths_are_told_with_the_option_that_takes_a_level(tmp_path, between, is_told):
    cells = [f"Home{between}Mugs", f"Home{between}Rugs"]
    rows = [{"id": str(n), "text": f"thing {n}", "category": cells[n % 2]} for n in range(40)]
    said = " ".join(sentences(inspect(write_catalogue(tmp_path, rows), settings=QUICK)))
    assert (f"Labels of category are paths or lists (Home{between}Mugs)" in said) == is_told
    assert ("--label-level 1 of heads-train" in said) == is_told


def test_rows_without_a_picture_are_told_where_they_are_many(tmp_path):
    rows = [{"id": str(n), "image": "" if n < 5 else f"{n}.png", "text": "" if n == 0 else "a"} for n in range(20)]
    images = {f"{n}.png": image_bytes((n, 7, 9)) for n in range(5, 20)}
    texts = [
        finding.text for finding in list_findings(inspect(write_catalogue(tmp_path, rows, images), settings=QUICK))
    ]
    assert any(text.startswith("5 of 20 rows name no picture") for text in texts)
    assert not any("no text" in text for text in texts)


def test_label_of_too_many_values_is_said_to_be_none(shop, monkeypatch):
    monkeypatch.setattr("embed.inspection.column_profile.MOST_DISTINCT", 100)
    inspection = inspect(shop, settings=InspectSettings(estimate=False, label="title"))
    assert inspection.label is None
    assert any(text.startswith("title has more than") for text in sentences(inspection))


@pytest.mark.parametrize("content", ["id,image\n", ""])
def test_catalogue_without_rows_is_an_error(tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(CatalogueError, match="Expected the catalogue to have"):
        inspect(path, settings=QUICK)


def test_settings_out_of_range_are_errors():
    with pytest.raises(SettingError, match="--most-pictures: expected at least 1, got 0"):
        InspectSettings(most_pictures=0)
    with pytest.raises(SettingError, match="--products: expected at least 0, got -1"):
        InspectSettings(n_products=-1)


# What it will cost


@pytest.fixture
def estimated(monkeypatch):
    """What the estimate of the sample was asked for; it says 2 ms and 512 numbers a content."""
    asked = []

    def estimate(catalogue_path, cache_path, *, settings):
        asked.append((catalogue_path.read_text(encoding="utf-8"), settings))
        found = [
            EncoderEstimate(f"{name}/some-random", 40, 40, 40 * 512 * 4, 0, 40 * 0.002, 40)
            for name in settings.modalities
        ]
        return Estimate(cache_path, 40, found, 0, 0, 0)

    monkeypatch.setattr(embed.extraction.extract_catalogue, "estimate", estimate)
    return asked


def test_cost_is_that_of_all_unique_contents(shop, estimated):
    cost = inspect(shop).cost
    assert [(one.name, one.n_contents, one.vector_bytes) for one in cost.encoders] == [
        ("image/some", 30, 30 * 512 * 4), ("text/some", 240, 240 * 512 * 4)
    ]  # fmt: skip
    assert cost.encode_s == pytest.approx(270 * 0.002)
    assert cost.n_bytes == 270 * 512 * 4
    _, settings = estimated[0]
    assert (settings.image_weights, settings.text_weights) == ("random", "random")  # nothing is downloaded


def test_cost_is_measured_on_rows_of_the_catalogue(shop, estimated):
    inspect(shop)
    text, _ = estimated[0]
    assert f"{shop.parent.resolve()}/images/7.png" in text
    assert "blue clog no 3" in text


def test_cost_that_cannot_be_measured_says_why(shop, monkeypatch):
    def estimate(*_, **__):
        raise WeightsError("there is no such architecture")

    monkeypatch.setattr(embed.extraction.extract_catalogue, "estimate", estimate)
    inspection = inspect(shop)
    assert (inspection.cost.encoders, inspection.cost.reason) == ([], "there is no such architecture")
    assert "was not measured: there is no such architecture" in " ".join(render_text(inspection).split())


def test_cost_without_contents_needs_no_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(
        embed.extraction.extract_catalogue, "estimate", lambda *_, **__: pytest.fail("it was asked for")
    )
    inspection = inspect(write_catalogue(tmp_path, [{"a": "1"}, {"a": "2"}]))
    assert inspection.cost.reason == "there is no content to encode"


def test_cost_is_measured_with_the_encoders_that_extraction_has(tmp_path):
    path = small_catalogue(tmp_path)
    settings = ExtractSettings(modalities=("image",), image_encoder="squeezenet1_1", device="cpu", precision="fp32")
    cost = inspect(path, settings=InspectSettings(extract=settings)).cost
    assert [(one.name, one.n_contents, one.vector_bytes) for one in cost.encoders] == [
        ("image/squeezenet1_1", 6, 6 * 512 * 4)
    ]
    assert cost.encode_s > 0
    assert [entry.name for entry in path.parent.iterdir()] != []
    assert not list(path.parent.glob("*.h5*")), "an inspection writes no cache"


# The command


def test_command_prints_a_page_of_80_columns_and_writes_another(shop, monkeypatch):
    monkeypatch.chdir(shop.parent)
    done = invoke(command, "--no-estimate")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("240 rows, 7 columns: data.csv\n")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.endswith("\ninspect.html\n")
    assert (shop.parent / "inspect.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sorted(path.name for path in shop.parent.iterdir()) == ["data.csv", "images", "inspect.html"]


def test_the_findings_come_first_and_details_have_the_profiles(shop, monkeypatch):
    monkeypatch.chdir(shop.parent)
    done, detailed = invoke(command, "--no-estimate"), invoke(command, "--no-estimate", "--details")
    lines = done.stdout.splitlines()
    assert len(lines) <= 26
    assert (lines[1], lines[2][:2]) == ("", "! ")
    for words in ("column ", "exact copies", "median"):
        assert not re.search(f"^{words}", done.stdout, re.MULTILINE)
        assert words in detailed.stdout
    assert detailed.stdout.startswith(lines[0])


def test_of_many_findings_the_bad_ones_are_shown_and_the_others_counted(shop, monkeypatch):
    inspection = inspect(shop, settings=QUICK)
    some = [Finding(f"a finding {n}", is_bad=n < 14) for n in range(20)]
    monkeypatch.setattr(embed.inspection.summary, "list_findings", lambda _: some)
    text = render_summary(inspection)
    assert [f"! a finding {n}" in text for n in range(14)] == [True] * 14
    assert "a finding 14" not in text
    assert "and 6 more that may wait (--details)" in text


def test_command_writes_no_page_if_told_so_and_prints_json(shop, monkeypatch):
    monkeypatch.chdir(shop.parent)
    done = invoke(command, "--no-estimate", "--no-html", "--json", "--label", "world")
    inspection = json.loads(done.stdout)
    assert inspection["n_rows"] == 240
    assert inspection["label"]["column"] == "world"
    assert inspection["columns"][0]["name"] == "id"
    assert not (shop.parent / "inspect.html").exists()


def test_command_writes_the_page_where_it_is_told(shop, tmp_path):
    path = tmp_path / "pages" / "shop.html"
    path.parent.mkdir()
    done = invoke(command, shop, "--no-estimate", "--html", path)
    assert done.stdout.endswith(f"\n{path}\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["shop.html"]


def test_command_names_a_catalogue_that_is_not_there(tmp_path):
    done = invoke(command, tmp_path / "none.csv")
    assert done.exit_code == 1
    assert "none.csv is not there" in done.stderr


def test_cells_cannot_move_the_terminal_s_cursor(tmp_path):
    rows = [
        {"id": str(n), "title\x1b[2J": f"\x1b[31mred\r\n{n}", "label": "a\x07" if n % 2 else "b"} for n in range(30)
    ]
    text = render_text(inspect(write_catalogue(tmp_path, rows), settings=QUICK))
    assert not {char for char in text if not char.isprintable()} - {"\n"}
    assert printable("\x1b[2J" + "x" * 90, 10) == "\N{REPLACEMENT CHARACTER}[2Jxxxxx…"


def test_fashion_catalogue_has_the_leaks_that_are_known(fashion, tmp_path):
    """Every fourth product; how many pictures and titles they have is counted plainly."""
    with (fashion / "styles.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::4]
    settings = InspectSettings(ExtractSettings(image_root=fashion), label="masterCategory", estimate=False)
    inspection = inspect(write_catalogue(tmp_path, rows), settings=settings)
    assert {one.column for one in inspection.associations if one.is_leak} == {"subCategory", "articleType"}
    digests = {hashlib.sha256((fashion / row["image"]).read_bytes()).digest() for row in rows}
    titles = {" ".join(row["productDisplayName"].split()) for row in rows} - {""}
    assert inspection.pictures.repeats.n_distinct == len(digests) < len(rows)
    assert inspection.text.repeats.n_distinct == len(titles) < len(rows)


LOOK = """
import sys
from pathlib import Path
from embed import InspectSettings, inspect
for path in sys.argv[1:]:
    found = inspect(path, settings=InspectSettings(estimate=False))
    peak_kib = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    print(found.n_rows, dict(found.label.classes)["c3"], found.columns[0].kind, peak_kib)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say a process's peak memory")
def test_three_hundred_thousand_rows_are_looked_at_in_memory_for_ten_million(tmp_path):
    """As lists of cells a row would take more than 100 bytes; what is kept of it are digests of 8 bytes.

    The shorter catalogue has several blocks already, so that what reading a block takes is no part of the difference.
    """
    paths = tmp_path / "short.csv", tmp_path / "long.csv"
    block = "".join(f"{{0:03}}{n:04},c{n % 7}\n" for n in range(10_000))
    for path, n_blocks in zip(paths, (10, 30), strict=True):
        with path.open("w") as file:
            file.write("sku,label\n")
            for number in range(n_blocks):
                file.write(block.replace("{0:03}", f"{number:03}"))
    done = subprocess.run([sys.executable, "-c", LOOK, *paths], cwd=ROOT, capture_output=True, text=True, check=True)
    short, long = (line.split() for line in done.stdout.splitlines())
    assert long[:3] == ["300000", "42870", "id"]
    n_bytes = (int(long[3]) - int(short[3])) * 1024
    assert n_bytes < 200_000 * 75, "ten million rows would not fit a gigabyte"
