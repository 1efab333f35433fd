"""Raw products are answered as products of a cache are, by encoders that are known to be the same."""

import csv
import io
import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from support import image_bytes, invoke, write_catalogue
from test_embed_encoders import write_folder
from tiny_models import write_vision

from cache import Cache, ContentSpec, EncoderSpec
from embed import ExtractSettings, extract
from embed.encoders.huggingface_text import TextEncoder
from embed.encoders.specs.side_notes import with_side_notes
from embed.settings import EncoderChoice
from heads import HeadError, Run, RunError, TrainSettings, train
from heads.commands.export import export
from heads.commands.predict import predict
from heads.prediction.answers import Answers
from heads.prediction.catalogue_cache import RawColumns, _content_settings, _extract_settings, usual_cache_path
from heads.prediction.products import Product, picture_bytes

pytestmark = pytest.mark.slow

N = 60
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}
QUICK = TrainSettings(
    fusions=("late", "early"), label="kind", metadata_columns=("season",), hidden_dim=16, max_epochs=4, n_resamples=100
)


def rows_of(n_products, *, start=0):
    return [
        {
            "id": f"{n:03}",
            "image": f"images/{n}.png",
            "text": f"{'red' if n % 2 else 'blue'} word{n // 8} word{n % 8 + 30}",
            "season": ("summer", "winter", "")[n % 3],
            "kind": "red" if n % 2 else "blue",
        }
        for n in range(start, start + n_products)
    ]


def pictures_of(rows):
    return {row["image"]: image_bytes((*COLOURS[row["kind"]][:2], 4 * int(row["id"]) % 256)) for row in rows}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with two small encoders, a catalogue, its cache and a run."""
    folder = tmp_path_factory.mktemp("shop")
    rows = rows_of(N)
    catalogue = write_catalogue(folder, rows, pictures_of(rows))
    settings = ExtractSettings(
        image_encoder=str(write_vision(folder / "vit", "vit")),
        text_encoder=str(write_folder(folder / "bert")),
        precision="fp32",
    )
    extract(catalogue, folder / "c.h5", settings=settings)
    train(folder / "c.h5", settings=QUICK, runs_path=folder / "runs", name="run")
    return folder


@pytest.fixture(scope="module")
def run(shop):
    return Run.load(shop / "runs/run")


@pytest.fixture
def own_run(shop, tmp_path):
    """A copy of the run, to be damaged; it has no digests but those of its heads."""
    copied = shutil.copytree(shop / "runs/run", tmp_path / "run")
    (copied / "manifest.json").unlink()
    return copied


def new_catalogue(folder, rows):
    return write_catalogue(folder, rows, pictures_of([row | {"kind": "red"} for row in rows]))


def predicted(run_path, source, *arguments):
    result = invoke(predict, source, "--run", run_path, *arguments)
    assert result.exit_code == 0, result.stderr
    return result


def lines_of(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_products_are_answered_as_their_rows_in_the_cache(shop, run):
    written = {line["id"]: line for line in lines_of(predicted(run.path, shop / "c.h5").stdout)}
    for row in rows_of(N)[:4]:
        said = run.predict(image=shop / row["image"], text=row["text"], season=row["season"])
        assert said.answer == written[row["id"]]["answer"]
        assert said.probability == pytest.approx(float(written[row["id"]]["probability"]), abs=1e-5)
        assert said.statuses == {"image": "ok", "text": "ok", "metadata": "ok" if row["season"] else "absent"}
        for name, answer in said.by_head.items():
            assert (answer[0] if answer else "") == written[row["id"]][name]


def test_what_no_cache_knows_is_encoded_to_the_same_answer(shop):
    """A cache of another place is none of the run's: everything is encoded anew."""
    alone = Run.load(shop / "runs/run", cache_path=shop / "nothing.h5")
    with_cache = Run.load(shop / "runs/run", cache_path=shop / "c.h5")
    for row in rows_of(4):
        given = {"image": shop / row["image"], "text": row["text"]}
        assert alone.predict(**given).probability == pytest.approx(with_cache.predict(**given).probability, abs=1e-5)


def test_known_content_is_answered_without_an_encoder(shop, monkeypatch):
    run = Run.load(shop / "runs/run", cache_path=shop / "c.h5")
    for encoder in run.encoders.values():
        monkeypatch.setattr(encoder, "encode", None)
    row = rows_of(1)[0]
    assert run.predict(image=shop / row["image"], text=row["text"]).answer  # nor is one tried
    with pytest.raises(TypeError):
        run.predict(text="never seen")


def test_products_are_answered_when_another_file_takes_the_place_of_the_cache(shop, tmp_path, caplog):
    """A server lives on while somebody writes beside it; it is told once, and the cache may come back."""
    cache_path = Path(shutil.copy(shop / "c.h5", tmp_path))
    run, alone = (Run.load(shop / "runs/run", cache_path=path) for path in (cache_path, shop / "nothing.h5"))
    run.predict(text="never seen")
    (tmp_path / "other").write_bytes(b"no cache")
    (tmp_path / "other").replace(cache_path)
    for n in range(3):
        text = f"never seen {n}"
        assert run.predict(text=text).probability == pytest.approx(alone.predict(text=text).probability, abs=1e-5)
    assert len([record for record in caplog.records if "until the cache can be read again" in record.message]) == 1


def test_pictures_may_be_paths_bytes_or_images(shop, run):
    path = shop / "images/3.png"
    said = [run.predict(image=one) for one in (path, str(path), path.read_bytes(), Image.open(path))]
    assert len({one.answer for one in said}) == 1
    assert [one.probability for one in said] == pytest.approx([said[0].probability] * 4, abs=1e-6)


def test_image_in_memory_is_answered_as_its_file(run):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 24, 3), dtype=np.uint8)
    pixels[:20] = 0
    turned, file = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6  # the camera lay on its side
    Image.fromarray(pixels).save(file, "PNG", exif=turned)
    printed = Image.fromarray(pixels).convert("CMYK")
    for image, other in ((Image.open(file), file.getvalue()), (printed, printed.convert("RGB"))):
        products = [Product(image=picture_bytes(one)) for one in (image, other)]
        one, two = run.products.vectors(products)[0].inputs["image"]
        np.testing.assert_allclose(one, two, atol=1e-5)
    with pytest.raises(HeadError, match="Expected an image of 8 or 16 bits, got mode F"):
        run.predict(image=Image.new("F", (8, 8)))


def test_series_are_lists_and_nan_is_nothing(run):
    frame = pd.DataFrame({"text": ["red word1", None, float("nan")], "image": [float("nan")] * 3})
    frame["season"] = [pd.NA, "winter", np.nan]
    said = run.predict(text=frame["text"], image=frame["image"], season=frame["season"])
    assert [one.statuses["text"] for one in said] == ["ok", "absent", "absent"]
    assert [one.statuses["metadata"] for one in said] == ["absent", "ok", "absent"]
    assert len(run.predict(text=np.array(["red word1", "blue word2"]))) == 2
    assert said[0] == run.predict(text="red word1")


def test_many_new_products_are_encoded_in_batches(run, monkeypatch):
    encoder, sizes = run.encoders["text"], []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "batch_size", 4)
    monkeypatch.setattr(encoder, "encode", lambda batch: sizes.append(len(batch)) or encode(batch))
    texts = [f"red word{n} word{n + 9}" for n in range(10)]
    several = run.predict(text=texts)
    assert sizes == [4, 4, 2]
    assert [one.answer for one in several] == [run.predict(text=text).answer for text in texts]


def test_products_that_do_not_fit_into_the_memory_together_are_encoded_in_halves(run, monkeypatch):
    encoder, sizes = run.encoders["text"], []
    encode = encoder.encode

    def small(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encode(batch)

    monkeypatch.setattr(encoder, "encode", small)
    texts = [f"blue word{n} word{n + 17}" for n in range(8)]
    several = run.predict(text=texts)
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert [one.answer for one in several] == [run.predict(text=text).answer for text in texts]


def test_several_devices_are_refused(shop, tmp_path):
    """The first was used alone, and nothing said so."""
    run = ("--run", shop / "runs/run", "--device", "cpu,cuda:0")
    done = invoke(predict, shop / "data.csv", *run, "--cache", tmp_path / "v.h5")
    assert done.exit_code == 1
    assert "--device: expected one device, got 'cpu,cuda:0'. Name one" in done.stderr


def test_lists_are_several_products(shop, run):
    one, other = run.predict(image=[shop / "images/1.png", None], text=["red shirt 1", "blue shirt"], top=1)
    assert [one.statuses["image"], other.statuses["image"]] == ["ok", "absent"]
    assert len(one.top) == 1
    assert other.by_head["image"] is None
    with pytest.raises(HeadError, match=r"Expected lists of one length, .* got image 1, text 2"):
        run.predict(image=[None], text=["a", "b"])


@pytest.mark.parametrize(
    ("picture", "status"),
    [
        (b"", "empty"),
        (b"no picture", "not_an_image"),
        (image_bytes(size=(90, 90), kind="JPEG")[:-200], "truncated"),
        (None, "absent"),
    ],
)
def test_picture_that_is_none_has_a_status_and_the_rest_answers(run, picture, status):
    said = run.predict(image=picture, text="red shirt")
    assert said.statuses["image"] == status
    assert said.by_head["image"] is None
    assert said.by_head["text"] == run.predict(text="red shirt").by_head["text"]


def test_product_of_which_nothing_is_known_has_no_answer(run):
    said = run.predict()
    assert (said.answer, said.top, said.probability) == (None, [], 0.0)
    assert said.to_dict()["answer"] is None


def test_unknown_column_is_named(run):
    with pytest.raises(HeadError, match=r"Expected image, text and cells of season, text, got colour\. Leave it out"):
        run.predict(text="red", colour="red")


def test_picture_that_cannot_be_read_is_named(run, tmp_path):
    with pytest.raises(HeadError, match=r"Expected a picture at .*none\.png, but it cannot be read"):
        run.predict(image=tmp_path / "none.png")
    with pytest.raises(HeadError, match="Expected a picture as a path, bytes or a PIL image, got int"):
        run.predict(image=3)


def test_catalogue_is_extracted_beside_it_and_known_products_are_not_encoded_again(shop, tmp_path, monkeypatch):
    rows = rows_of(6, start=N - 3)  # three of them are known
    source = new_catalogue(tmp_path / "new", [{key: row[key] for key in row if key != "kind"} for row in rows])
    n_texts = []
    encode = TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, batch: n_texts.append(len(batch)) or encode(self, batch))
    lines = lines_of(predicted(shop / "runs/run", source).stdout)
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert sum(n_texts) - 4 == 3  # four of the run's samples are encoded to try the encoder
    n_texts.clear()
    assert lines_of(predicted(shop / "runs/run", source).stdout) == lines
    assert n_texts == []
    with Cache(tmp_path / "new/data.embeddings.h5") as cache:
        assert cache.ids() == [row["id"] for row in rows]


def test_catalogue_is_answered_as_its_products_in_python(shop, run, tmp_path):
    rows = rows_of(5, start=100)
    source = new_catalogue(tmp_path / "new", rows)
    predicted(run.path, source, "-o", tmp_path / "out.jsonl", "--cache", tmp_path / "v.h5")
    said = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, line in zip(rows, said, strict=True):
        alone = run.predict(image=source.parent / row["image"], text=row["text"], season=row["season"])
        assert line["answer"] == alone.answer
        assert line["probability"] == pytest.approx(alone.probability, abs=1e-5)


def test_catalogue_of_texts_alone_is_answered_by_the_rest(shop, tmp_path, caplog):
    rows = [{"id": row["id"], "text": row["text"]} for row in rows_of(4)]
    source = write_catalogue(tmp_path / "new", rows, {f"images/{row['id']}.png": image_bytes() for row in rows})
    caplog.set_level(logging.INFO, "embed_once")
    lines = lines_of(predicted(shop / "runs/run", source).stdout)
    assert "has no column image: its products are answered without image" in caplog.text
    assert "has no column season: its products are answered without metadata" in caplog.text
    assert "--image-template" not in caplog.text  # no option of this command
    assert {line["image"] for line in lines} == {line["metadata"] for line in lines} == {""}
    assert all(line["answer"] for line in lines)


@pytest.fixture(scope="module")
def counting(shop):
    """A run whose metadata is a column, and the words of the text."""
    settings = replace(QUICK, metadata_counts=("text",), allow_leaks=True, fusions=("early",), controls=())
    train(shop / "c.h5", settings=settings, runs_path=shop / "runs", name="counting")
    return shop / "runs/counting"


def test_text_that_is_given_is_counted_as_its_cell_is(counting, tmp_path):
    rows = [row | {"text": f"{row['text']} and more" * int(row["id"][-1])} for row in rows_of(4, start=201)]
    source = new_catalogue(tmp_path / "new", rows)
    lines = lines_of(predicted(counting, source, "--head", "metadata", "--head", "early").stdout)
    run = Run.load(counting)
    for row, line in zip(rows, lines, strict=True):
        _, probability = run.predict(text=row["text"], season=row["season"]).by_head["metadata"]
        assert probability == pytest.approx(float(line["probability"]), abs=1e-5)


def test_catalogue_that_lacks_one_column_of_several_is_answered_by_the_others(counting, tmp_path, caplog):
    rows = rows_of(4)
    lacking = new_catalogue(tmp_path / "new", [{key: row[key] for key in row if key != "season"} for row in rows])
    empty = new_catalogue(tmp_path / "empty", [row | {"season": ""} for row in rows])
    lines = lines_of(predicted(counting, lacking).stdout)
    assert "has no column season: its cells count as empty." in caplog.text
    assert lines == lines_of(predicted(counting, empty).stdout)


def test_nothing_is_said_to_be_answered_of_a_catalogue_that_is_refused(shop, tmp_path, caplog):
    source = write_catalogue(tmp_path / "new", [{"id": "1", "photo": "1.png", "words": "red"}])
    done = invoke(predict, source, "--run", shop / "runs/run")
    assert done.exit_code == 1
    assert "it has none of their columns (id, photo, words)" in done.stderr
    assert "answered without" not in caplog.text


def test_catalogue_whose_pictures_are_all_to_come_is_answered_by_the_rest(shop, tmp_path, caplog):
    source = write_catalogue(tmp_path / "new", [row | {"image": ""} for row in rows_of(4)])
    lines = lines_of(predicted(shop / "runs/run", source, "--head", "late").stdout)
    assert "has any image: all are answered without." in caplog.text
    same = lines_of(predicted(shop / "runs/run", write_catalogue(tmp_path / "other", [
        {key: row[key] for key in row if key != "image"} for row in rows_of(4)
    ]), "--head", "late").stdout)  # fmt: skip
    assert lines == same
    assert all(line["answer"] for line in lines)


def test_cache_of_the_training_does_not_lose_its_products_to_a_catalogue(shop, tmp_path):
    before = (shop / "c.h5").read_bytes()
    source = new_catalogue(tmp_path / "new", rows_of(4))
    result = invoke(predict, source, "--run", shop / "runs/run", "--cache", shop / "c.h5")
    assert result.exit_code == 1
    assert "--cache: expected another cache than that of the training" in result.stderr
    assert (shop / "c.h5").read_bytes() == before


def test_metadata_alone_answers_no_catalogue(counting, tmp_path):
    result = invoke(predict, new_catalogue(tmp_path / "new", rows_of(4)), "--run", counting, "--head", "metadata")
    assert result.exit_code == 1
    assert "Expected a head that looks at pictures or texts, got metadata, of metadata alone." in result.stderr


def test_head_that_answers_more_is_named(shop, tmp_path):
    source = write_catalogue(tmp_path / "new", [{"id": row["id"], "text": row["text"]} for row in rows_of(4)])
    result = predicted(shop / "runs/run", source, "--head", "image", "--head", "late", "--head", "text")
    assert {line["answer"] for line in lines_of(result.stdout)} == {""}
    assert re.search(r"^image answers 0 of 4 products, (late|text) 4: --head \1\.$", result.stderr, re.MULTILINE)


def test_notes_of_a_catalogue_are_said_once(shop, tmp_path, caplog):
    rows = rows_of(4)
    write_catalogue(tmp_path / "new", rows, pictures_of(rows))
    source = tmp_path / "new/semicolons.csv"
    source.write_text("\n".join(["id;text;image", *(f"{row['id']};{row['text']};{row['image']}" for row in rows)]))
    assert len(lines_of(predicted(shop / "runs/run", source).stdout)) == 4
    assert [record.message for record in caplog.records if "separated by semicolons" in record.message] == [
        f"The cells of {source} are separated by semicolons."
    ]


def test_lists_of_pictures_in_json_are_found_by_the_column_of_the_training(shop, tmp_path, caplog):
    rows = rows_of(4)
    catalogue = write_catalogue(tmp_path / "new", rows, pictures_of(rows))
    lines = [{"id": row["id"], "text": row["text"], "snapshots": [row["image"], "none.png"]} for row in rows]
    source = catalogue.with_name("new.jsonl")
    source.write_text("\n".join(map(json.dumps, lines)))
    named = predicted(shop / "runs/run", source, "--image-column", "snapshots")
    assert "answered without image" not in caplog.text
    assert all(line["image"] for line in lines_of(named.stdout))


def test_columns_of_other_names_are_named(shop, tmp_path):
    rows = [{"id": row["id"], "picture": row["image"], "headline": row["text"], "season": ""} for row in rows_of(4)]
    source = write_catalogue(tmp_path / "new", rows, pictures_of(rows_of(4)))
    result = invoke(predict, source, "--run", shop / "runs/run")
    assert result.exit_code == 1
    assert "Name its columns with --image-column and --text-columns" in result.stderr
    named = predicted(shop / "runs/run", source, "--image-column", "picture", "--text-columns", "headline")
    as_trained = predicted(shop / "runs/run", shop / "c.h5")
    same = lines_of(as_trained.stdout)[:4]
    assert [line["image"] for line in lines_of(named.stdout)] == [line["image"] for line in same]


def test_doubtful_answers_go_to_a_review(shop, tmp_path):
    every = lines_of(predicted(shop / "runs/run", shop / "c.h5").stdout)
    threshold = sorted(float(line["probability"]) for line in every)[N // 2]
    predicted(shop / "runs/run", shop / "c.h5", "-o", tmp_path / "out.csv", "--threshold", f"{threshold + 1e-5:.6f}")
    sure, rest = (lines_of((tmp_path / name).read_text()) for name in ("out.csv", "review.csv"))
    assert len(rest) >= N // 2
    assert sorted(line["id"] for line in [*sure, *rest]) == [line["id"] for line in every]
    assert max(float(line["probability"]) for line in rest) < min(float(line["probability"]) for line in sure)


def test_answers_take_the_place_of_nothing_else(shop, tmp_path):
    rows = [{"id": row["id"], "text": row["text"], "season": ""} for row in rows_of(3)]
    source = write_catalogue(tmp_path / "new", rows)
    arguments = ("--run", shop / "runs/run", "--threshold", "0.5", "-o")
    for output in (source, source.with_name("review.csv")):
        result = invoke(predict, source, *arguments, output)
        assert result.exit_code == 1
        assert "--output: expected another file than that of what" in result.stderr
    assert len(lines_of(source.read_text())) == 3


def test_who_has_no_answer_goes_to_the_review_and_is_not_counted(shop, tmp_path):
    rows = [{"id": "a", "text": "red word1", "season": ""}, {"id": "b", "text": "", "season": "winter"}]
    source = write_catalogue(tmp_path / "new", rows)
    out = tmp_path / "out.csv"
    result = predicted(shop / "runs/run", source, "--head", "text", "-o", out, "--threshold", "0")
    assert "answers of text to 1 of 2 products.\n" in result.stdout
    assert [line["id"] for line in lines_of((tmp_path / "review.csv").read_text())] == ["b"]


@pytest.mark.parametrize(
    ("table", "folders", "is_same"),
    [
        ("data.csv", ["train_images"], True),
        ("data.csv", ["test_images"], False),
        ("test.csv", ["train_images", "test_images"], False),  # both number their pictures from 0
    ],
)
def test_another_template_is_looked_for_where_that_of_the_training_leads_elsewhere(
    table, folders, is_same, tmp_path, caplog
):
    """A competition's pictures for training and for testing stand in two folders."""
    templates = ["train_images/{id}.jpg"]
    run = SimpleNamespace(
        encoders={"image": None}, contents={"image": ContentSpec("image", {"columns": [], "templates": templates})},
        metadata_columns=(), cache_path=None, path=tmp_path, heads=["image"],
    )  # fmt: skip
    pictures = {f"{folder}/{n}.jpg": image_bytes((n, 0, 0)) for n in range(5) for folder in folders}
    source = write_catalogue(tmp_path / "shop", [{"id": f"{n}"} for n in range(5)], pictures)
    source = source.rename(source.with_name(table))
    with caplog.at_level("INFO", logger="embed_once"):
        settings, absent = _extract_settings(run, source, RawColumns())
    assert (settings.image_template, absent) == (tuple(templates) if is_same else (), frozenset())
    assert ("those that are there are taken" in caplog.text) == (not is_same)


def test_pictures_are_found_by_a_column_where_training_had_a_template(shop):
    """Which column or template names a file is nothing that is done to it; that it is the mean of several, is."""
    template = ContentSpec("image", {"columns": [], "templates": ["images/{id}.jpg"], "pictures": "mean"})
    made = _content_settings(template, RawColumns(image_column="picture"))
    assert made == {"image_column": "picture", "pictures": "mean"}
    assert _content_settings(template, RawColumns()) == {"image_template": ("images/{id}.jpg",), "pictures": "mean"}
    column = ContentSpec("image", {"columns": ["picture"], "pictures": "mean"})
    assert column.renamed(template) == template
    assert ContentSpec("image", {"columns": ["picture"]}).renamed(template) != template


def test_vectors_of_a_catalogue_are_kept_beside_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert usual_cache_path(Path(".")) == tmp_path.with_name(f"{tmp_path.stem}.embeddings.h5")
    assert usual_cache_path(Path("a/shop-*.csv.zst")) == Path("a/shop-_.embeddings.h5")


def test_all_formats_say_the_same(shop, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for suffix in ("csv", "jsonl", "parquet"):
        predicted(shop / "runs/run", shop / "c.h5", "-o", tmp_path / f"out.{suffix}", "--top", "2")
    lines = lines_of((tmp_path / "out.csv").read_text())
    objects = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert len(lines) == len(objects) == len(table) == N
    for line, thing, row in zip(lines, objects, table, strict=True):
        assert line["answer"] == thing["answer"] == row["answer"]
        assert line["answer_2"] == thing["top"][1]["answer"] == row["answer_2"]
        assert float(line["probability"]) == pytest.approx(row["probability"], abs=1e-6)
        assert (line["disagree"] == "yes") == thing["disagree"] == row["disagree"]
        assert line["text"] == thing["heads"]["text"]["answer"] == row["text"]


def test_unknown_format_is_refused_before_any_work(shop, tmp_path):
    result = invoke(predict, shop / "c.h5", "--run", shop / "runs/run", "-o", tmp_path / "out.xml")
    assert result.exit_code == 1
    assert "--output: expected a file that ends in .csv, .jsonl, .parquet, got" in result.stderr


def test_best_head_of_the_validation_rows_is_the_answer(run):
    scores = json.loads((run.path / "metrics.json").read_text())["heads"]
    best = max(scores, key=lambda name: scores[name]["validation"]["macro_f1"])
    assert scores[run.head]["validation"]["macro_f1"] == scores[best]["validation"]["macro_f1"]
    assert Run.load(run.path, heads=["early", "text"]).head == "early"


def test_other_weights_are_refused_by_name(shop, tmp_path):
    other = str(write_vision(tmp_path / "vit", "vit", seed=7))
    run = Run.load(shop / "runs/run", encoders={"image_encoder": other})
    with pytest.raises(HeadError, match=r"Expected the image encoder to be made as .*, but here it has weights: "):
        run.predict(text="red")


def test_encoder_that_moved_is_named_and_found_again(shop, own_run, tmp_path):
    for path in own_run.glob("*.json"):
        about = path.read_text().replace(str(shop), str(tmp_path / "gone"))
        path.write_text(about)
    moved = invoke(predict, shop / "data.csv", "--run", own_run, "--cache", tmp_path / "v.h5")
    assert moved.exit_code == 1  # the head's own digest does not allow it to be altered
    assert "was altered" in moved.stderr
    copied = shutil.copytree(shop / "vit", tmp_path / "elsewhere")
    said = Run.load(shop / "runs/run", encoders={"image_encoder": str(copied)}).predict(text="red")
    assert said.answer


def test_vectors_that_come_out_otherwise_are_refused(own_run):
    """As if a library had changed what the encoder does: the run's own vectors are others."""
    tensors = load_file(own_run / "encoder_samples.safetensors")
    tensors["text.vector"] = np.roll(tensors["text.vector"], 1, axis=1)
    save_file(tensors, own_run / "encoder_samples.safetensors")
    with pytest.raises(HeadError, match=r"Expected the text encoder .* a cosine of .* All libraries are of the same"):
        Run.load(own_run).predict(text="red")


def test_damaged_samples_are_named(own_run):
    path = own_run / "encoder_samples.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"Expected .*encoder_samples\.safetensors to hold contents and their vectors"):
        Run.load(own_run).predict(text="red")


def test_run_without_samples_is_not_tried(own_run):
    (own_run / "encoder_samples.safetensors").unlink()
    assert Run.load(own_run).predict(text="red").answer


def test_modalities_disagree_where_two_answer_otherwise():
    probabilities = {"image": [[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], "text": [[0.8, 0.2], [0.3, 0.7], [0.9, 0.1]]}
    answers = Answers(
        head="image",
        classes=["a", "b"],
        modalities=["image", "text"],
        probabilities={name: np.array(rows, dtype=np.float32) for name, rows in probabilities.items()},
        answered={"image": np.array([True, True, False]), "text": np.ones(3, dtype=bool)},
    )
    assert answers.disagree.tolist() == [False, True, False]
    assert answers.confidence.tolist() == pytest.approx([0.9, 0.9, 0])
    assert answers.top(1, 5) == [("a", pytest.approx(0.9)), ("b", pytest.approx(0.1))]


def test_many_products_are_kept_no_longer_than_there_is_room(run, monkeypatch):
    monkeypatch.setattr("heads.prediction.products.MOST_KEPT", 3)
    run.predict_products([Product(text=f"red {n}") for n in range(9)])
    assert len(run.products._recent) == 3


def test_what_is_kept_of_products_is_bounded_in_bytes(run, monkeypatch):
    monkeypatch.setattr("heads.prediction.products.MOST_KEPT_BYTES", 3 * 4 * run.products._dims["text"])
    run.predict_products([Product(text=f"red {n} shirt") for n in range(9)])
    kept = [one[0].nbytes for one in run.products._recent.values()]
    assert sum(kept) == run.products._n_recent_bytes == 3 * 4 * run.products._dims["text"]


def test_cache_says_how_its_encoders_are_built(shop):
    with Cache(shop / "c.h5") as cache:
        notes = cache.spec("image", cache.encoder("image")).side_notes
    assert notes["settings"]["image_encoder"] == str(Path(shop / "vit").resolve())
    assert {"torch", "transformers"} <= notes["libraries"].keys()


def assert_metadata_is_made_as_the_run_does(folder, run, monkeypatch):
    """Run the model card's code that makes metadata of cells."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(folder)
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[-1]
    names = {}
    exec(compile(code.replace('["", ""]', '["winter", ""]'), "README.md", "exec"), names)  # noqa: S102 - our own card
    vectors, _ = run.products.vectors([run.product(season="winter"), run.product()])
    assert np.array_equal(names["metadata"], vectors.inputs["metadata"].numpy())
    assert names["metadata_present"].tolist() == vectors.present["metadata"].tolist() == [True, False]


def test_a_head_is_exported_with_the_encoders_it_learned_from(shop, run, tmp_path, monkeypatch):
    """They are built again without being named, and tried on the contents that the run keeps."""
    named = ("--head", "early", "--with-encoder", "text", "--format", "pt2")
    result = invoke(export, shop / "runs/run", *named, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "The text vectors in it have a cosine of 1.0" in result.stdout
    assert (tmp_path / "out/model.pt2").is_file()
    assert_metadata_is_made_as_the_run_does(tmp_path / "out", run, monkeypatch)


def test_model_card_of_onnx_makes_metadata_of_cells_as_the_run_does(shop, run, tmp_path, monkeypatch):
    invoke(export, shop / "runs/run", "--head", "metadata", "-o", tmp_path / "out")
    assert (tmp_path / "out/model.onnx").is_file()
    assert_metadata_is_made_as_the_run_does(tmp_path / "out", run, monkeypatch)


def test_names_are_no_folders_that_happen_to_be_called_so(tmp_path, monkeypatch):
    for name in ("resnet18", "random", "bert"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    images = EncoderSpec("image", {"architecture": "torchvision/resnet18"})
    texts = EncoderSpec("text", {"architecture": "transformers/BertConfig"})
    noted = [
        with_side_notes(spec, EncoderChoice(model, "random", None, ""), ExtractSettings()).side_notes["settings"]
        for spec, model in ((images, "resnet18"), (texts, "bert"))
    ]
    assert (noted[0]["image_encoder"], noted[0]["image_weights"]) == ("resnet18", "random")
    assert noted[1]["text_encoder"] == str((tmp_path / "bert").resolve())
