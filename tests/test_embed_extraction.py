"""The extraction loop: what is encoded, what is not, and what the cache then says of every product."""

from __future__ import annotations

import csv
import logging
import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn import draw_catalogue
from support import CountingEncoder, image_bytes, small_catalogue, vector_of, write_catalogue

from cache import Cache, EmbedOnceError, Journal, Part, SpecConflictError, content_key, verify
from cache.arrays.key_index import KeyIndex
from embed import (
    CatalogueError,
    ContentError,
    ExtractSettings,
    ImageEncoder,
    SettingError,
    TextEncoder,
    TooManyBadError,
    extract,
    make_encoders,
)
from embed.contents.images import decode

pytestmark = pytest.mark.slow

CACHE = Path("cache.h5")
FAILURES = Path("cache.h5.failures.csv")


def run(catalogue, *encoders, **settings):
    """Extract with fresh encoders, or the given ones, and return how many contents each of them encoded."""
    encoders = encoders or (CountingEncoder("image"), CountingEncoder("text"))
    extract(catalogue, CACHE, settings=ExtractSettings(**settings), encoders=encoders)
    return tuple(encoder.n_encoded for encoder in encoders)


def read_rows(catalogue):
    with catalogue.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def assert_each_row_has_its_own_vector(catalogue):
    """Compare the cache with what each row's own picture and text give, computed one by one."""
    rows = read_rows(catalogue)
    images = [
        own_vector(lambda row=row: decode((catalogue.parent / row["image"]).read_bytes()).tobytes()) for row in rows
    ]
    texts = [own_vector(lambda row=row: " ".join(row["text"].split()).encode()) for row in rows]
    with Cache(CACHE) as cache:
        assert cache.ids() == [row["id"] for row in rows]
        np.testing.assert_array_equal(cache.matrix("image", "counting"), images)
        np.testing.assert_array_equal(cache.matrix("text", "counting"), texts)
    assert verify(CACHE) == []


def own_vector(content):
    try:
        prepared = content()
    except (ContentError, OSError, UnicodeEncodeError):
        prepared = b""
    return vector_of(prepared, 4) if prepared else np.full(4, np.nan, dtype=np.float32)


@pytest.fixture
def catalogue(tmp_path):
    return small_catalogue(tmp_path / "shop")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """The bytes of the cache that a first run makes of the small catalogue."""
    folder = tmp_path_factory.mktemp("sealed")
    encoders = CountingEncoder("image"), CountingEncoder("text")
    extract(small_catalogue(folder / "shop"), folder / CACHE, encoders=encoders)
    return (folder / CACHE).read_bytes()


@pytest.fixture
def extracted(catalogue, sealed):
    """A catalogue whose first run was."""
    CACHE.write_bytes(sealed)
    return catalogue


@pytest.fixture
def small_bert(tmp_path):
    """A folder that makes a text encoder of random weights in no time."""
    folder = tmp_path / "small-bert"
    folder.mkdir()
    (folder / "config.json").write_text(
        '{"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,'
        ' "intermediate_size": 16, "vocab_size": 2000, "max_position_embeddings": 64}'
    )
    return folder


class Failing(CountingEncoder):
    """Fails when it has encoded `after` contents; `error` is raised in the place of the next batch."""

    def __init__(self, modality, *, after, error):
        super().__init__(modality)
        self.after, self.error = after, error

    def encode(self, batch):
        if self.n_encoded >= self.after:
            raise self.error
        return super().encode(batch)


class Picky(CountingEncoder):
    """Refuses some contents, and notes all that it was asked to prepare."""

    def __init__(self, modality, refused=()):
        super().__init__(modality)
        self.refused = set(refused)
        self.prepared = []

    def prepare(self, content):
        self.prepared.append(content)
        if content in self.refused:
            raise ContentError("truncated")
        return super().prepare(content)


# --- 1. a second run encodes nothing and loads no model


def test_first_run_gives_every_row_its_own_vector(catalogue):
    assert run(catalogue) == (6, 6)
    assert_each_row_has_its_own_vector(catalogue)


def test_second_run_encodes_nothing_and_leaves_the_file_alone(catalogue):
    run(catalogue)
    before = CACHE.stat()
    assert run(catalogue) == (0, 0)
    after = CACHE.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(os.listdir()) == [CACHE.name, CACHE.name + ".hints"]


def test_report_says_what_was_done(catalogue):
    (catalogue.parent / "images" / "2.png").write_text("<html>")
    encoders = [CountingEncoder("image"), CountingEncoder("text")]
    first = extract(catalogue, CACHE, encoders=encoders)
    second = extract(catalogue, CACHE, encoders=encoders)
    assert [
        (entry.name, entry.n_unique, entry.n_cached, entry.n_encoded, entry.n_failed) for entry in first.encoders
    ] == [
        ("image/counting", 6, 0, 5, 1),
        ("text/counting", 6, 0, 6, 0),
    ]
    assert first.statuses == {"image": {"ok": 5, "not_an_image": 1}, "text": {"ok": 6}}
    assert (first.n_products, first.was_written, first.failures_path) == (6, True, FAILURES)
    assert [entry.n_encoded for entry in second.encoders] == [0, 0]
    assert (second.statuses, second.was_written, second.failures_path) == (first.statuses, False, FAILURES)


def test_a_run_reads_the_keys_of_its_cache_once_to_plan_and_to_seal(catalogue, monkeypatch):
    run(catalogue)
    catalogue.write_text(catalogue.read_text().replace("product number 1", "another"))
    read = []
    keys = Cache.key_index
    monkeypatch.setattr(Cache, "key_index", lambda self, modality: read.append(modality) or keys(self, modality))
    monkeypatch.setattr(Cache, "keys", lambda *_: pytest.fail("the letters of all keys are read at once"))
    assert run(catalogue) == (0, 1)
    assert sorted(read) == ["image", "text"]


def test_second_run_of_real_encoders_touches_no_model(catalogue, small_bert, monkeypatch):
    settings = ExtractSettings(
        image_weights="random", text_encoder=str(small_bert), text_weights="random", device="cpu"
    )
    assert extract(catalogue, CACHE, settings=settings).was_written
    for encoder, name in ((ImageEncoder, "model"), (TextEncoder, "model"), (TextEncoder, "tokenizer")):
        monkeypatch.setattr(encoder, name, property(lambda _: pytest.fail("a model is loaded")))
    assert not extract(catalogue, CACHE, settings=settings).was_written
    write_catalogue(catalogue.parent, [{**row, "text": "new " + row["text"]} for row in read_rows(catalogue)])
    with pytest.raises(pytest.fail.Exception, match="a model is loaded"):
        extract(catalogue, CACHE, settings=settings)


# --- 2. changed content is encoded, and only it


def test_changed_picture_alone_is_encoded(catalogue):
    run(catalogue)
    (catalogue.parent / "images" / "3.png").write_bytes(image_bytes("lime"))
    assert run(catalogue) == (1, 0)
    assert_each_row_has_its_own_vector(catalogue)


def test_changed_title_alone_is_encoded(catalogue):
    run(catalogue)
    rows = read_rows(catalogue)
    rows[2]["text"] = "another title"
    write_catalogue(catalogue.parent, rows)
    assert run(catalogue) == (0, 1)
    assert_each_row_has_its_own_vector(catalogue)


def test_a_picture_is_read_without_the_keys_of_all_others(catalogue, monkeypatch):
    """Each made them anew as letters: at 100,000 contents 15 ms a picture."""
    monkeypatch.setattr(KeyIndex, "keys", property(lambda _: pytest.fail("all keys were made")))
    assert sum(run(catalogue)) > 0


def test_content_that_comes_back_is_still_there(catalogue):
    run(catalogue)
    path = catalogue.parent / "images" / "3.png"
    original = path.read_bytes()
    path.write_bytes(image_bytes("lime"))
    run(catalogue)
    path.write_bytes(original)
    assert run(catalogue) == (0, 0)
    assert_each_row_has_its_own_vector(catalogue)


# --- 3. what changes no content encodes nothing, and the catalogue follows


def rename_picture(folder, rows):
    (folder / rows[1]["image"]).rename(folder / "images" / "renamed.png")
    rows[1]["image"] = "images/renamed.png"


def move_pictures(folder, rows):
    (folder / "images").rename(folder / "pictures")
    for row in rows:
        row["image"] = row["image"].replace("images/", "pictures/")


def swap_pictures(folder, rows):
    rows[0]["image"], rows[1]["image"] = rows[1]["image"], rows[0]["image"]


def touch_pictures(folder, rows):
    for row in rows:
        os.utime(folder / row["image"], (1, 1))


def reorder(folder, rows):
    rows.reverse()


def relabel(folder, rows):
    for row in rows:
        row["label"] = "another " + row["label"]


def give_new_ids(folder, rows):
    for row in rows:
        row["id"] = "0" + row["id"]


def add_column(folder, rows):
    for row in rows:
        row["price"] = "12.50"


def pad_titles(folder, rows):
    rows[0]["text"] = f"  {rows[0]['text']}\t"


def remove_rows(folder, rows):
    del rows[1:4]


@pytest.mark.parametrize(
    "change",
    [
        rename_picture, move_pictures, swap_pictures, touch_pictures, reorder, relabel, give_new_ids, add_column,
        pad_titles, remove_rows,
    ],
)  # fmt: skip
def test_same_content_is_not_encoded_again_and_the_catalogue_follows(extracted, change):
    rows = read_rows(extracted)
    change(extracted.parent, rows)
    write_catalogue(extracted.parent, rows)
    assert run(extracted) == (0, 0)
    assert_each_row_has_its_own_vector(extracted)
    with Cache(CACHE) as cache:
        for name in cache.columns():
            assert cache.column(name) == [row[name] for row in rows]


def test_columns_that_leave_the_cache_are_told(extracted, caplog):
    caplog.set_level(logging.INFO, "embed_once")
    labels = extracted.with_name("labels.csv")
    labels.write_text("id,colour\n" + "".join(f"{row['id']},red\n" for row in read_rows(extracted)))
    run(extracted, labels=labels)
    assert "leave the cache" not in caplog.text
    run(extracted)
    assert (
        f"Columns of the cache are not in {extracted}, and leave the cache: colour (--labels joins those of a second "
        "table)."
    ) in caplog.messages
    caplog.clear()
    run(extracted)
    assert caplog.messages == []


def test_moved_folder_is_not_encoded_again(catalogue, tmp_path):
    run(catalogue)
    shutil.move(catalogue.parent, tmp_path / "elsewhere" / "shop")
    moved = tmp_path / "elsewhere" / "shop" / "data.csv"
    assert run(moved) == (0, 0)
    assert_each_row_has_its_own_vector(moved)


def test_moved_catalogue_finds_its_pictures_by_the_image_root(catalogue, tmp_path):
    run(catalogue)
    moved = Path(shutil.move(catalogue, tmp_path / "moved.csv"))
    assert run(moved, image_root=catalogue.parent) == (0, 0)


def test_added_rows_encode_only_themselves(tmp_path):
    run(small_catalogue(tmp_path / "shop", 4))
    catalogue = small_catalogue(tmp_path / "shop", 7)
    assert run(catalogue) == (3, 3)
    assert_each_row_has_its_own_vector(catalogue)


def test_removed_rows_leave_the_catalogue_and_their_vectors_stay(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 6)
    run(catalogue)
    run(small_catalogue(tmp_path / "shop", 2))
    with Cache(CACHE) as cache:
        assert (cache.ids(), len(cache.keys("image")), len(cache.keys("text"))) == (["000", "001"], 6, 6)
    assert run(small_catalogue(tmp_path / "shop", 6)) == (0, 0)
    assert_each_row_has_its_own_vector(catalogue)


# --- 4. the same content is encoded once


def test_content_under_five_products_is_encoded_once_and_read_under_all(tmp_path):
    rows = [{"id": f"{n}", "image": f"{n}.png", "text": "the same"} for n in range(5)]
    rows += [{"id": "5", "image": "0.png", "text": "the  same "}, {"id": "6", "image": "6.png", "text": "another"}]
    images = {f"{n}.png": image_bytes("red") for n in range(5)} | {"6.png": image_bytes("blue")}
    catalogue = write_catalogue(tmp_path / "shop", rows, images)
    assert run(catalogue) == (2, 2)
    assert_each_row_has_its_own_vector(catalogue)
    with Cache(CACHE) as cache:
        assert cache.rows("image").tolist() == [0] * 6 + [1]
        assert len(cache.keys("text")) == 2


# --- 5. a change of the spec never mixes vectors


def test_an_encoder_of_a_modality_that_a_catalogue_does_not_have_is_an_error(catalogue, tmp_path):
    with pytest.raises(SettingError, match="of image or text, got one of 'audio'"):
        extract(catalogue, tmp_path / "c.h5", encoders=[CountingEncoder("audio")])
    assert not list(tmp_path.glob("c.h5*"))


@pytest.mark.parametrize("modality", ["image", "text"])
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"weights": "others"}, r'weights: "counted", not "others"'),
        ({"pooling": "mean"}, r'pooling: \w+, not "mean"'),
        ({"max_length": 64}, r"max_length: \w+, not 64"),
    ],
)
def test_changed_spec_is_an_error_that_names_the_field(extracted, modality, changed, named):
    class Other(CountingEncoder):
        def __init__(self, modality):
            super().__init__(modality)
            self.spec = type(self.spec)(modality, {**self.spec.fields, **changed})

    before = CACHE.read_bytes()
    other = Other(modality)
    with pytest.raises(SpecConflictError, match=rf"{named}.*--{modality}-name NAME"):
        run(extracted, other)
    assert (other.n_encoded, CACHE.read_bytes()) == (0, before)


def test_changed_spec_conflicts_with_an_unsealed_journal_too(catalogue):
    with pytest.raises(ZeroDivisionError):
        run(catalogue, Failing("image", after=2, error=ZeroDivisionError()), batch_size=2)
    with pytest.raises(SpecConflictError, match=r'journal has it with mean: \w+, not "0\.5"'):
        run(catalogue, CountingEncoder("image", mean="0.5"))


def test_two_specs_stand_side_by_side_under_two_names(catalogue):
    run(catalogue)
    other = CountingEncoder("image", name="other", dim=7, pooling="mean")
    assert run(catalogue, other) == (6,)
    with Cache(CACHE) as cache:
        assert cache.encoders("image") == ["counting", "other"]
        assert cache.matrix("image", "other").shape == (6, 7)
        assert np.isfinite(cache.matrix("image", "other")).all()
        assert dict(cache.spec("image", "other").fields) == {"weights": "counted", "pooling": "mean"}
    assert_each_row_has_its_own_vector(catalogue)
    assert run(catalogue) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"seed": 1}, "seed: 0, not 1"),
        ({"max_length": 16}, "max_length: 32, not 16"),
        ({"pooling": "mean", "text_name": "small-bert-random"}, "pooling: "),
        ({"image_encoder": "resnet34", "image_name": "resnet18-random"}, "architecture: "),
    ],
)
def test_changed_setting_of_a_real_encoder_conflicts_before_any_model_is_loaded(
    catalogue, small_bert, monkeypatch, changed, field
):
    for encoder in (ImageEncoder, TextEncoder):
        monkeypatch.setattr(encoder, "model", property(lambda _: pytest.fail("a model is loaded")))
    settings = {"image_weights": "random", "text_encoder": str(small_bert), "text_weights": "random", "device": "cpu"}
    stand_ins = []
    for real in make_encoders(ExtractSettings(**settings)):
        stand_ins.append(CountingEncoder(real.spec.modality, name=real.name))
        stand_ins[-1].spec = real.spec
    run(catalogue, *stand_ins)
    with pytest.raises(SpecConflictError, match=field):
        extract(catalogue, CACHE, settings=ExtractSettings(**settings | changed))


# --- what changes no vector


@pytest.mark.parametrize(("batch_size", "n_workers", "part_bytes"), [(1, 1, 1), (2, 3, 40), (7, 8, 2**20)])
def test_batches_workers_and_parts_change_nothing(tmp_path, batch_size, n_workers, part_bytes):
    catalogue = small_catalogue(tmp_path / "shop", 12)
    assert run(catalogue, batch_size=batch_size, n_workers=n_workers, part_bytes=part_bytes) == (12, 12)
    assert_each_row_has_its_own_vector(catalogue)
    assert run(catalogue, batch_size=5, n_workers=2) == (0, 0)


@pytest.mark.parametrize("seed", range(2))
def test_every_row_of_a_drawn_catalogue_has_its_own_vector(tmp_path, seed):
    """Broken pictures, copies and missing titles in a shuffled table: N rows in, the same N rows out, in order."""
    catalogue = draw_catalogue(tmp_path / "shop", n_products=80, seed=seed)
    rows = [{**row, "text": row.pop("title")} for row in read_rows(catalogue)]
    write_catalogue(catalogue.parent, rows)
    choose = random.Random(seed)
    run(catalogue, batch_size=choose.randint(1, 9), n_workers=choose.randint(1, 4), part_bytes=choose.choice([1, 99]))
    assert_each_row_has_its_own_vector(catalogue)


# --- going on after a stop


@pytest.mark.parametrize("error", [RuntimeError("CUDA is ill"), KeyboardInterrupt(), ZeroDivisionError()])
def test_stopped_run_keeps_what_was_encoded_and_the_next_encodes_the_rest(tmp_path, error):
    catalogue = small_catalogue(tmp_path / "shop", 10)
    with pytest.raises(type(error)):
        run(catalogue, Failing("image", after=6, error=error), CountingEncoder("text"), batch_size=2)
    assert not CACHE.exists()
    assert run(catalogue) == (4, 10)
    assert_each_row_has_its_own_vector(catalogue)
    assert sorted(os.listdir()) == [CACHE.name, CACHE.name + ".hints"]


def test_stopped_run_leaves_the_sealed_cache_as_it_was(tmp_path):
    run(small_catalogue(tmp_path / "shop", 4))
    before = CACHE.read_bytes()
    catalogue = small_catalogue(tmp_path / "shop", 8)
    with pytest.raises(KeyboardInterrupt):
        run(catalogue, CountingEncoder("image"), Failing("text", after=2, error=KeyboardInterrupt()), batch_size=1)
    assert CACHE.read_bytes() == before
    assert run(catalogue) == (0, 2)
    assert_each_row_has_its_own_vector(catalogue)


def test_failures_found_before_a_stop_are_kept_too(tmp_path):
    catalogue = small_catalogue(tmp_path / "shop", 6)
    broken = b"<html>"
    (catalogue.parent / "images" / "0.png").write_bytes(broken)
    with pytest.raises(RuntimeError):
        run(catalogue, Failing("image", after=2, error=RuntimeError()), batch_size=2, n_workers=1)
    image = Picky("image")
    assert run(catalogue, image) == (2,)
    assert broken not in image.prepared


def test_ctrl_c_at_any_line_of_the_loop_ends_as_ctrl_c_and_mixes_nothing(tmp_path):
    """The interrupt comes before every fifth line, where it is run for the first and for the last time."""
    catalogue = small_catalogue(tmp_path / "shop", 3)
    source_file = extract.__code__.co_filename

    def interrupt_before(nth, lines):
        last = None

        def trace(frame, event, argument):
            nonlocal last
            if frame.f_code.co_filename != source_file:
                return None
            # From Python 3.12 on a comprehension comes to its line again, and there an exception of the tracer's own
            # passes by the `with` around it, which a signal's does not.
            is_new, last = last != (frame, frame.f_lineno), (frame, frame.f_lineno)
            if event == "line" and is_new:
                lines.append(frame.f_lineno)
                if len(lines) == nth:
                    raise KeyboardInterrupt
            return trace

        return trace

    def run_until(nth):
        """Return the encoder and the lines that were run."""
        image, lines, before = CountingEncoder("image"), [], sys.gettrace()
        sys.settrace(interrupt_before(nth, lines))
        try:
            run(catalogue, image, batch_size=1, n_workers=1, part_bytes=40)
        except KeyboardInterrupt:
            assert len(lines) == nth
        finally:
            sys.settrace(before)
        return image, lines

    _, lines = run_until(None)
    CACHE.unlink()
    last = {line: nth for nth, line in enumerate(lines, 1)}
    numbers = {lines.index(line) + 1 for line in last} | set(last.values())
    assert len(numbers) > 50
    for nth in sorted(numbers)[::5]:
        image, _ = run_until(nth)
        rest = CountingEncoder("image")
        run(catalogue, rest, batch_size=2)
        assert image.n_encoded + rest.n_encoded <= 3 + 3, nth  # at most the part that was not published yet
        with Cache(CACHE) as cache:
            expected = [own_vector(lambda n=n: decode(image_bytes((n, 7, 9))).tobytes()) for n in range(3)]
            np.testing.assert_array_equal(cache.matrix("image"), expected)
        assert sorted(os.listdir()) == [CACHE.name, CACHE.name + ".hints"]
        CACHE.unlink()


# --- failures are remembered


def test_failed_content_is_not_tried_again(catalogue):
    refused = (catalogue.parent / "images" / "1.png").read_bytes()
    assert run(catalogue, Picky("image", [refused]), CountingEncoder("text")) == (5, 6)
    second = Picky("image")
    assert run(catalogue, second, CountingEncoder("text")) == (0, 0)
    assert second.prepared == []
    with Cache(CACHE) as cache:
        assert cache.statuses("image")[1] == "truncated"
        assert cache.rows("image")[1] >= 0
        assert not cache.present("image", "counting")[1]


def test_retry_failed_tries_the_failed_contents_alone(catalogue):
    refused = [(catalogue.parent / "images" / f"{n}.png").read_bytes() for n in (1, 4)]
    run(catalogue, Picky("image", refused), CountingEncoder("text"))
    image = Picky("image", refused[1:])
    assert run(catalogue, image, CountingEncoder("text"), retry_failed=True) == (1, 0)
    assert sorted(image.prepared) == sorted(refused)
    with Cache(CACHE) as cache:
        assert cache.statuses("image") == ["ok", "ok", "ok", "ok", "truncated", "ok"]
    assert run(catalogue, retry_failed=True) == (1, 0)
    assert_each_row_has_its_own_vector(catalogue)
    assert not FAILURES.exists()


def test_retry_that_fails_again_leaves_the_file_alone(catalogue):
    (catalogue.parent / "images" / "1.png").write_text("<html>")
    run(catalogue)
    before = CACHE.stat().st_ino
    assert run(catalogue, retry_failed=True) == (0, 0)
    assert CACHE.stat().st_ino == before


def test_pictures_that_were_all_broken_can_be_mended(catalogue):
    for path in (catalogue.parent / "images").iterdir():
        path.write_text(f"no picture {path.name}")
    assert run(catalogue) == (0, 6)
    (catalogue.parent / "images" / "2.png").write_bytes(image_bytes("lime"))
    assert run(catalogue) == (1, 0)
    assert_each_row_has_its_own_vector(catalogue)


# --- statuses


def strange_pictures(folder):
    """Make one picture of every status; return (cell, status) pairs."""
    png, jpeg = (image_bytes("red", size=(64, 64), kind=kind) for kind in ("PNG", "JPEG"))
    contents = {
        "good.png": (png, "ok"),
        "empty.png": (b"", "empty"),
        "page.jpg": (b"<html>404 not found</html>", "not_an_image"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "half.png": (png[: len(png) // 2], "truncated"),
        "strip.png": (image_bytes("red", size=(101, 2)), "too_large"),
        "float.tif": (image_bytes(0.5, mode="F", kind="TIFF"), "unsupported_mode"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
    }
    folder.mkdir()
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder.parent / "outside.png").write_bytes(png)
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    cells = {name: status for name, (_, status) in contents.items()} | {
        "": "absent",
        "gone.png": "missing",
        "loop.png": "missing",
        "../outside.png": "outside",
        "link.png": "outside",
        str(folder.parent / "outside.png"): "outside",
        "folder.png": "not_a_file",
        "pipe.png": "not_a_file",
    }
    if os.geteuid():  # nothing is unreadable to root
        (folder / "secret.png").write_bytes(png)
        (folder / "secret.png").chmod(0)
        cells["secret.png"] = "unreadable"
    return list(cells.items())


def test_every_kind_of_broken_picture_has_its_status_and_no_vector(tmp_path):
    cells = strange_pictures(tmp_path / "shop")
    good = ("good.png", "ok")
    cells = [pair for cell in cells for pair in (good, cell)]  # a neighbour to each, to be mistaken for
    rows = [{"id": f"{n:02}", "image": cell, "text": f"text {n}"} for n, (cell, _) in enumerate(cells)]
    catalogue = write_catalogue(tmp_path / "shop", rows)
    run(catalogue, batch_size=2)
    with Cache(CACHE) as cache:
        assert cache.ids() == [row["id"] for row in rows]
        assert cache.statuses("image") == [status for _, status in cells]
        good_vector = vector_of(decode(image_bytes("red", size=(64, 64))).tobytes(), 4)
        for vector, (_, status) in zip(cache.matrix("image"), cells, strict=True):
            np.testing.assert_array_equal(vector, good_vector if status == "ok" else [np.nan] * 4)


def test_failures_are_listed_in_the_catalogues_order_and_the_list_goes_when_all_is_well(tmp_path):
    rows = [
        {"id": "007", "image": "a.png", "text": "good"},
        {"id": "é", "image": "b.png", "text": "no \udcff unicode"},
        {"id": "9", "image": 'gone, "far".png', "text": ""},
        {"id": "3", "image": "", "text": "x" * 300 + "\udcff"},
    ]
    catalogue = write_catalogue(tmp_path / "shop", rows, {"a.png": image_bytes(), "b.png": b"<html>"})
    run(catalogue)
    with FAILURES.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *lines = csv.reader(file)
    assert header == ["id", "modality", "status", "meaning", "cell"]
    assert [(line[0], line[1], line[2], line[4]) for line in lines] == [
        ("é", "image", "not_an_image", "b.png"),
        ("9", "image", "missing", 'gone, "far".png'),
        ("é", "text", "not_unicode", "no \udcff unicode"),
        ("3", "text", "not_unicode", "x" * 200),
    ]
    assert all(line[3] for line in lines)
    write_catalogue(tmp_path / "shop", rows[:1])
    run(catalogue)
    assert not FAILURES.exists()


def test_two_caches_side_by_side_have_lists_of_their_own(catalogue):
    (catalogue.parent / "images" / "1.png").write_text("<html>")
    paths = {
        extract(catalogue, path, encoders=[CountingEncoder("image"), CountingEncoder("text")]).failures_path
        for path in ("shop.v1", "shop.v2")
    }
    assert len(paths) == 2


@pytest.mark.parametrize(
    ("max_bad", "is_kept"), [("0", False), ("2", False), ("3", True), ("29%", False), ("30%", True), ("100%", True)]
)
def test_max_bad_decides_and_the_cache_is_written_all_the_same(tmp_path, max_bad, is_kept):
    catalogue = small_catalogue(tmp_path / "shop", 10)
    for n in (2, 5, 7):
        (catalogue.parent / "images" / f"{n}.png").write_text("no picture")
    if is_kept:
        run(catalogue, max_bad=max_bad)
    else:
        with pytest.raises(TooManyBadError, match=rf"--max-bad {max_bad} to hold, but 3 of 10 .* {FAILURES} lists"):
            run(catalogue, max_bad=max_bad)
    assert_each_row_has_its_own_vector(catalogue)
    assert len(FAILURES.read_text().splitlines()) == 4


def test_max_bad_is_not_fooled_by_rounding():
    """In floating point 29 / 100 * 100 is less than 29."""
    assert ExtractSettings(max_bad="29%").bad_limit(100) >= 29
    assert all(ExtractSettings(max_bad=f"{share}%").bad_limit(100) == share for share in range(101))


def test_empty_cells_are_not_bad(tmp_path):
    rows = [{"id": "1", "image": "a.png", "text": ""}, {"id": "2", "image": "", "text": "a text"}]
    run(write_catalogue(tmp_path / "shop", rows, {"a.png": image_bytes()}), max_bad="0")
    with Cache(CACHE) as cache:
        assert (cache.statuses("image"), cache.statuses("text")) == (["ok", "absent"], ["absent", "ok"])


# --- a picture that changes under our hands


@pytest.mark.parametrize("content", [image_bytes("lime"), b"", None], ids=["overwritten", "emptied", "deleted"])
def test_picture_that_changes_between_hashing_and_encoding_is_never_stored_under_the_old_key(catalogue, content):
    changing = catalogue.parent / "images" / "5.png"
    old_key = content_key(changing.read_bytes())

    class Meddling(CountingEncoder):
        def prepare(self, prepared):
            changing.unlink(missing_ok=True)
            if content is not None:
                changing.write_bytes(content)
            return super().prepare(prepared)

    image = Meddling("image")
    run(catalogue, image, CountingEncoder("text"), n_workers=1)  # the first picture is prepared before the last is read
    assert image.n_encoded == 5
    with Cache(CACHE) as cache:
        assert cache.statuses("image") == ["ok"] * 5 + ["changed"]
        assert np.isnan(cache.matrix("image")[5]).all()
        assert old_key.encode() not in cache.keys("image")[cache.encoded("image", "counting")]
    assert "changed" in FAILURES.read_text()
    changing.write_bytes(image_bytes("cyan"))
    assert run(catalogue) == (1, 0)
    assert_each_row_has_its_own_vector(catalogue)


# --- texts and cells


def test_texts_of_every_kind_keep_their_rows(tmp_path):
    texts = ["long " * 20_000, "", "   ", "not \udcff unicode", "NA", "null", "nan", "None", "0012", "1e5", "日本語 🧣"]
    rows = [{"id": f"{n:04}", "text": text, "grade": "NA"} for n, text in enumerate(texts)]
    catalogue = write_catalogue(tmp_path / "shop", rows)
    assert len(texts[0]) == 100_000
    assert run(catalogue, CountingEncoder("text"), modalities=("text",)) == (8,)
    with Cache(CACHE) as cache:
        assert cache.ids() == [row["id"] for row in rows]
        assert cache.column("text") == texts
        assert cache.column("grade") == ["NA"] * len(texts)
        assert cache.statuses("text") == ["ok", "absent", "absent", "not_unicode"] + ["ok"] * 7
        expected = [own_vector(lambda text=text: " ".join(text.split()).encode()) for text in texts]
        np.testing.assert_array_equal(cache.matrix("text"), expected)


def test_text_composed_in_another_way_is_the_same_text(tmp_path):
    rows = [{"id": "1", "text": "caf\u00e9"}, {"id": "2", "text": "cafe\u0301"}]
    assert run(write_catalogue(tmp_path, rows), CountingEncoder("text"), modalities=("text",)) == (1,)


# --- catalogues that lack something


def test_catalogue_whose_pictures_are_all_elsewhere_is_an_error_that_names_the_image_root(catalogue, tmp_path):
    shutil.move(catalogue.parent / "images", tmp_path / "elsewhere" / "images")
    with pytest.raises(CatalogueError, match=r"none of the 6 is: 'images/0\.png' is missing.*--image-root") as caught:
        run(catalogue)
    assert str(catalogue.parent) in str(caught.value)
    assert os.listdir() == []
    assert run(catalogue, image_root=tmp_path / "elsewhere") == (6, 6)


def test_one_missing_picture_is_a_status_and_no_error(catalogue):
    (catalogue.parent / "images" / "4.png").unlink()
    assert run(catalogue) == (5, 6)
    assert_each_row_has_its_own_vector(catalogue)


@pytest.mark.parametrize(("modality", "other"), [("image", "text"), ("text", "image")])
def test_catalogue_of_one_modality_needs_no_column_of_the_other(tmp_path, modality, other):
    row = {"id": "1", "image": "a.png", "text": "a text"}
    del row[other]
    catalogue = write_catalogue(tmp_path / "shop", [row], {"a.png": image_bytes()})
    with pytest.raises(CatalogueError, match=f"--modalities {modality}"):
        run(catalogue)
    assert run(catalogue, CountingEncoder(modality), modalities=(modality,)) == (1,)
    with Cache(CACHE) as cache:
        assert cache.modalities == [modality]


def test_encoders_given_for_one_modality_are_enough(catalogue):
    assert run(catalogue, CountingEncoder("image")) == (6,)
    with Cache(CACHE) as cache:
        assert cache.modalities == ["image"]


@pytest.mark.parametrize("modality", ["image", "text"])
def test_later_run_of_one_modality_keeps_the_other_readable(extracted, modality):
    assert run(extracted, CountingEncoder(modality), modalities=(modality,)) == (0,)
    assert_each_row_has_its_own_vector(extracted)


def test_catalogue_that_loses_its_pictures_for_a_while_keeps_their_vectors(catalogue):
    run(catalogue)
    rows = read_rows(catalogue)
    write_catalogue(catalogue.parent, [{"id": row["id"], "text": row["text"]} for row in rows])
    assert run(catalogue, CountingEncoder("text"), modalities=("text",)) == (0,)
    with Cache(CACHE) as cache:
        assert cache.modalities == ["text"]
    assert verify(CACHE) == []
    write_catalogue(catalogue.parent, rows)
    assert run(catalogue) == (0, 0)
    assert_each_row_has_its_own_vector(catalogue)


def test_run_of_one_modality_seals_what_a_stopped_run_left_of_the_other(catalogue):
    with pytest.raises(KeyboardInterrupt):
        run(catalogue, CountingEncoder("image"), Failing("text", after=2, error=KeyboardInterrupt()), batch_size=2)
    assert run(catalogue, CountingEncoder("text"), modalities=("text",)) == (4,)
    assert_each_row_has_its_own_vector(catalogue)


def test_texts_that_no_encoder_has_seen_yet_are_no_failures(catalogue):
    run(catalogue)
    rows = read_rows(catalogue)
    rows[0]["text"] = "a new text"
    write_catalogue(catalogue.parent, rows)
    assert run(catalogue, CountingEncoder("image"), modalities=("image",), max_bad="0") == (0,)
    assert not FAILURES.exists()
    with Cache(CACHE) as cache:
        assert cache.statuses("text")[0] != "ok"
        assert np.isnan(cache.matrix("text")[0]).all()
    assert run(catalogue) == (0, 1)
    assert_each_row_has_its_own_vector(catalogue)


# --- parts


@pytest.fixture
def part_sizes(monkeypatch):
    """The number of vectors in every part that is published."""
    sizes = []
    publish = Journal.publish

    def noted(self, part):
        sizes.append(len(part.keys))
        return publish(self, part)

    monkeypatch.setattr(Journal, "publish", noted)
    return sizes


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"part_bytes": 1}, [1] * 6),
        ({"part_bytes": 32}, [2, 2, 2]),  # 16 bytes a vector
        ({"part_bytes": 33}, [3, 3]),
        ({"part_bytes": 64}, [4, 2]),
        ({"part_s": 0.0}, [1] * 6),
        ({}, [6]),
    ],
)
def test_parts_are_published_by_size_and_by_time(catalogue, part_sizes, settings, expected):
    run(catalogue, CountingEncoder("image"), **{"batch_size": 1, "part_s": 1e9, **settings})
    assert part_sizes == expected


def test_part_is_published_when_its_time_has_come(catalogue, part_sizes, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Slow(CountingEncoder):
        def encode(self, batch):
            clock[0] += 2
            return super().encode(batch)

    run(catalogue, Slow("image"), batch_size=1, part_s=5.0, n_workers=1)
    assert sum(part_sizes) == 6
    assert len(part_sizes) in (2, 3)  # the worker may be a batch ahead of what is published


# --- encoders that do not do what they promise


class Bad(CountingEncoder):
    """Spoils the vectors of its second batch, or of each."""

    def __init__(self, spoil):
        super().__init__("image")
        self.spoil = spoil

    def encode(self, batch):
        return self.spoil(super().encode(batch), len(self.batch_sizes))


SPOILT_AT_ONCE = {
    "float64": lambda vectors, _: vectors.astype(np.float64),
    "flat": lambda vectors, _: vectors[:, 0],
}
SPOILT_LATER = {
    "nan": lambda vectors, n: np.where(n == 2, np.nan, vectors).astype(np.float32),
    "infinite": lambda vectors, n: np.where(n == 2, np.inf, vectors).astype(np.float32),
    "too few": lambda vectors, n: vectors[:-1] if n == 2 else vectors,
    "narrow": lambda vectors, n: vectors[:, :3] if n == 2 else vectors,
    # One row too few and then one too many: the numbers agree, and every row after has its neighbour's vector.
    "shifted": lambda vectors, n: (
        vectors[:-1] if n == 2 else np.concatenate([vectors, vectors[:1]]) if n == 3 else vectors
    ),
}


@pytest.mark.parametrize(
    ("spoilt", "part_bytes"),
    [*((name, 1) for name in SPOILT_LATER), *((name, 2**20) for name in SPOILT_AT_ONCE | SPOILT_LATER)],
)
def test_bad_vectors_are_a_named_error_and_never_stored(catalogue, spoilt, part_bytes):
    spoil = (SPOILT_AT_ONCE | SPOILT_LATER)[spoilt]
    with pytest.raises(EmbedOnceError):
        run(catalogue, Bad(spoil), batch_size=2, part_bytes=part_bytes, n_workers=1)  # the first batch comes first
    assert not CACHE.exists()
    assert sum(run(catalogue)) >= 8
    assert_each_row_has_its_own_vector(catalogue)


def test_a_part_of_another_dimension_is_set_aside_and_its_contents_encoded_again(catalogue, caplog):
    """It names itself, and no later run fails for it; which of both is right, the encoder says."""
    narrow = Bad(lambda vectors, _: vectors[:, :3])
    key = content_key((catalogue.parent / "images" / "0.png").read_bytes())
    with Journal(CACHE) as journal:
        stray = journal.publish(Part(narrow.name, narrow.spec, [key], np.ones((1, 3), np.float32), {}))
    with pytest.raises(EmbedOnceError, match="to give 2 finite float32 vectors of 3 dimensions"):
        run(catalogue, CountingEncoder("image"), batch_size=2, n_workers=1)
    assert f"as the journal's part {stray.name} has, got 4" in caplog.text
    assert sum(run(catalogue)) >= 8
    with Journal(CACHE) as journal:  # now one that does not fit what is sealed
        journal.publish(Part(narrow.name, narrow.spec, ["f" * 64], np.ones((1, 3), np.float32), {}))
    run(catalogue)
    assert "to have vectors of 4 dimensions and no tokens" in caplog.text
    assert_each_row_has_its_own_vector(catalogue)


# --- where the cache stands


def test_cache_behind_a_link_stays_where_it_is(catalogue, tmp_path):
    target = tmp_path / "large-disk" / "cache.h5"
    target.parent.mkdir()
    run(catalogue)
    CACHE.rename(target)
    CACHE.symlink_to(target)
    (catalogue.parent / "images" / "3.png").write_bytes(image_bytes("lime"))
    assert run(catalogue) == (1, 0)
    assert CACHE.is_symlink()
    assert_each_row_has_its_own_vector(catalogue)


def test_reader_of_the_old_cache_is_not_disturbed_by_a_seal(tmp_path):
    run(small_catalogue(tmp_path / "shop", 3))
    with Cache(CACHE) as reader:
        before = reader.matrix("image")
        run(small_catalogue(tmp_path / "shop", 5))
        np.testing.assert_array_equal(reader.matrix("image"), before)
    with Cache(CACHE) as reader:
        assert len(reader) == 5


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({}, {"columns": ["text"]}),
        ({"text_column": "label"}, {"columns": ["label"]}),
        ({"text_columns": "label", "clean_text": True}, {"columns": ["label"], "clean": True}),
        ({"text_columns": "text,label"}, {"columns": ["text", "label"], "join": ". "}),
    ],
)
def test_the_cache_says_of_what_its_contents_are_made(catalogue, settings, fields):
    run(catalogue, **settings)
    with Cache(CACHE) as cache:
        assert cache.content_spec("text").fields == fields
        assert cache.content_spec("image").fields == {"columns": ["image"]}


def test_texts_of_another_column_that_are_the_same_are_said_to_be_of_that_one(catalogue):
    """No vector changes, and the catalogue does."""
    rows = read_rows(catalogue)
    write_catalogue(catalogue.parent, [{**row, "title": row["text"]} for row in rows])
    run(catalogue)
    assert run(catalogue, text_column="title") == (0, 0)
    with Cache(CACHE) as cache:
        assert cache.content_spec("text").columns == ["title"]
