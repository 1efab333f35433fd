"""The whole way on a real catalogue: every 25th product, untrained encoders, a few seconds."""

import csv
import hashlib
import io
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import transformers
from support import invoke
from torchvision.transforms._presets import ImageClassification

from cache import Cache
from cache.commands.info import info
from cache.commands.verify import verify
from embed.commands.extract import extract
from embed.encoders import torchvision_image
from heads.commands.predict import predict
from heads.commands.train import train

pytestmark = pytest.mark.slow

EVERY = 25
SCORED = "masterCategory"  # all heads are trained, and the page is drawn
BROKEN = {"missing": 20, "truncated": 21, "empty": 22, "not_an_image": 23}  # row by status


@pytest.fixture(scope="module")
def folder(fashion, tmp_path_factory):
    """A copy of every 25th product, four of whose pictures are broken and two of whose titles are gone."""
    folder = tmp_path_factory.mktemp("fashion")
    with (fashion / "styles.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::EVERY]
    (folder / "images").mkdir()
    for n, row in enumerate(rows):
        shutil.copy(fashion / row["image"], folder / row["image"])
        row["code"] = f"{n:05}"
    rows[30]["productDisplayName"], rows[31]["productDisplayName"] = "", "  "
    pictures = {status: folder / rows[n]["image"] for status, n in BROKEN.items()}
    pictures["missing"].unlink()
    pictures["truncated"].write_bytes(pictures["truncated"].read_bytes()[:400])
    pictures["empty"].write_bytes(b"")
    pictures["not_an_image"].write_text("<html>404</html>")
    with (folder / "styles.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    tiny = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=5000
    )
    tiny.save_pretrained(folder / "tiny-bert")
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    with (folder / "styles.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def small_pictures():
    """An untrained network looks at pictures of 64 pixels: it finds as much there, in a twelfth of the time."""
    recipe = SimpleNamespace(transforms=lambda: ImageClassification(crop_size=64, resize_size=73))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision_image, "get_model_weights", lambda _: SimpleNamespace(DEFAULT=recipe))
        yield


def run_extract(folder):
    result = invoke(
        extract, folder / "styles.csv", "-o", folder / "styles.h5", "--device", "cpu", "--image-weights", "random",
        "--text-encoder", folder / "tiny-bert", "--text-weights", "random", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def first_report(folder):
    return run_extract(folder)


@pytest.fixture(scope="module")
def cache_path(folder, first_report):
    return folder / "styles.h5"


@pytest.fixture(scope="module")
def trained(folder, cache_path):
    """Train a head on a column, once; return what the command printed and the run folder."""
    done = {}

    def run(label):
        if label not in done:
            arguments = ["--label", label, "--runs", folder / "runs", "--name", label, "--max-epochs", 8]
            arguments += ["--resamples", 200]
            if label != SCORED:
                arguments += ["--fusion", "early", "--controls", "none", "--max-epochs", 1, "--no-report"]
            done[label] = invoke(train, cache_path, *arguments)
        assert done[label].exit_code == 0, done[label].stderr
        return done[label], folder / "runs" / label

    return run


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def titles_of(rows):
    return [" ".join(row["productDisplayName"].split()) for row in rows]


def test_each_unique_content_is_encoded_once(folder, rows, first_report):
    files = [folder / row["image"] for row in rows]
    pictures = {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists() and path.stat().st_size
    }
    n_pictures = len(pictures) - 2  # one truncated, one no picture
    n_titles = len(set(titles_of(rows)) - {""})
    counted = {entry["name"]: (entry["n_encoded"], entry["n_cached"]) for entry in first_report["encoders"]}
    assert counted == {"image/resnet18-random": (n_pictures, 0), "text/tiny-bert-random": (n_titles, 0)}
    assert n_titles < len(rows) - 2, "no title repeats: the sample shows nothing"


def test_every_product_has_the_status_it_should(rows, first_report, folder):
    n = len(rows)
    assert first_report["n_products"] == n
    assert first_report["statuses"]["image"] == {"ok": n - 4, **dict.fromkeys(BROKEN, 1)}
    assert first_report["statuses"]["text"] == {"ok": n - 2, "absent": 2}
    listed = read_csv((folder / "styles.h5.failures.csv").read_text(encoding="utf-8"))
    assert {line["status"]: line["id"] for line in listed} == {status: rows[n]["id"] for status, n in BROKEN.items()}


def test_a_second_run_encodes_nothing(folder, first_report, cache_path):
    before = cache_path.read_bytes()
    again = run_extract(folder)
    assert [entry["n_encoded"] for entry in again["encoders"]] == [0, 0]
    assert [entry["n_cached"] for entry in again["encoders"]] == [entry["n_unique"] for entry in again["encoders"]]
    assert again["statuses"] == first_report["statuses"]
    assert not again["was_written"]
    assert cache_path.read_bytes() == before


def test_the_cache_is_intact_and_shown(cache_path):
    assert invoke(verify, cache_path).exit_code == 0
    facts = json.loads(invoke(info, cache_path, "--json").stdout)
    assert [(entry["name"], entry["dimension"]) for entry in facts["encoders"]] == [
        ("image/resnet18-random", 512),
        ("text/tiny-bert-random", 32),
    ]


def test_cells_are_kept_as_they_are_written(rows, cache_path):
    with Cache(cache_path) as cache:
        assert cache.ids() == [row["id"] for row in rows]
        assert cache.columns() == [name for name in rows[0] if name != "id"]
        for column in cache.columns():
            assert cache.column(column) == [row[column] for row in rows]
        assert cache.column("code")[:2] == ["00000", "00001"]


def test_a_product_has_a_vector_of_its_own_content_or_none(rows, cache_path):
    with Cache(cache_path) as cache:
        image, text = cache.matrix("image"), cache.matrix("text")
    assert [n for n in range(len(rows)) if np.isnan(image[n]).all()] == sorted(BROKEN.values())
    assert [n for n in range(len(rows)) if np.isnan(text[n]).all()] == [30, 31]
    first = {}
    for n, title in enumerate(titles_of(rows)):
        if title:
            assert np.array_equal(text[n], text[first.setdefault(title, n)])
    assert len(np.unique(text[list(first.values())], axis=0)) == len(first)


@pytest.mark.parametrize("label", ["articleType", "masterCategory"])
def test_any_column_can_be_learned_without_extracting_again(rows, trained, label):
    result, run_path = trained(label)
    config = json.loads((run_path / "config.json").read_text())
    counts = Counter(row[label] for row in rows)
    assert config["classes"] == sorted(name for name, count in counts.items() if count >= 10)
    small = [count for count in counts.values() if count < 10]
    notes = json.loads((run_path / "metrics.json").read_text())["notes"]
    told = [note for note in notes if note.startswith(f"{len(small)} class") and f"({sum(small)} rows: " in note]
    assert len(told) == (1 if small else 0)
    assert "UNTRAINED" in result.stdout
    assert config["encoders"] == {"image": "resnet18-random", "text": "tiny-bert-random"}


@pytest.mark.parametrize("label", ["articleType", "masterCategory"])
def test_real_duplicates_straddle_no_split(rows, cache_path, trained, label):
    _, run_path = trained(label)
    split = json.loads((run_path / "config.json").read_text())["split"]
    side_of = {product_id: side for side, ids in split.items() for product_id in ids}
    sides_of = {}
    for row, title in zip(rows, titles_of(rows), strict=True):
        if title and row["id"] in side_of:
            sides_of.setdefault(title, set()).add(side_of[row["id"]])
    assert all(len(sides) == 1 for sides in sides_of.values())


def test_a_fusion_learns_more_than_the_largest_class(rows, trained):
    _, run_path = trained("masterCategory")
    metrics = json.loads((run_path / "metrics.json").read_text())["heads"]
    largest = Counter(row["masterCategory"] for row in rows).most_common(1)[0][1] / len(rows)
    assert metrics["early"]["accuracy"] > largest + 0.1


def test_every_product_is_answered_and_the_test_products_as_before(rows, cache_path, trained):
    _, run_path = trained("masterCategory")
    result = invoke(predict, cache_path, "--run", run_path)
    assert result.exit_code == 0
    found = {line.pop("id"): line for line in read_csv(result.stdout)}
    assert list(found) == [row["id"] for row in rows]
    for line in read_csv((run_path / "predictions.csv").read_text(encoding="utf-8")):
        del line["label"]
        answered = found[line.pop("id")]
        assert {name: answered[name] for name in line} == line  # behind the answer that counts
