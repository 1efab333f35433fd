"""A head that takes several encoders of a modality sees their vectors as one, and knows all of them again."""

import json

import numpy as np
import pytest
import torch
from support import class_vectors, image_bytes, invoke, synthetic_cache, write_catalogue
from tiny_models import write_vision

from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, content_key, seal
from cache.errors import MissingEntryError
from embed import ExtractSettings, extract
from heads import FusionClassifier, HeadError, Run, TrainSettings, train
from heads.commands.ablate import ablate
from heads.commands.train import train as heads_train
from heads.data.splitting.duplicate_contents import first_duplicates, first_near_duplicates
from heads.data.vectors import load_vectors
from heads.errors import ExportError
from heads.export.export_settings import ExportSettings
from heads.modules.parts.standardiser import Standardise
from heads.prediction.products import Product
from heads.runs.folder import load_heads
from heads.serving import cached_products
from heads.serving.cached_products import CachedProducts
from heads.workflows.export import export_head

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

N = 60
TARGETS = np.arange(N) % 2
LABELS = {"label": [f"class {code}" for code in TARGETS]}
QUICK = ["--max-epochs", 1, "--hidden-dim", 8, "--resamples", 100, "--no-report", "--device", "cpu"]
SMALL = TrainSettings(
    fusions=(), controls=(), encoders={"image": "vit+dinov2"}, max_epochs=1, hidden_dim=8, n_resamples=100, device="cpu"
)
A, B = class_vectors(TARGETS, 6, seed=1), 1e-4 * class_vectors(TARGETS, 4, seed=2)  # of other scales
HAS_A, HAS_B = np.arange(N) % 10 != 3, np.arange(N) % 15 != 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A cache of texts that two encoders know, each but for some; the second's name has a plus sign."""
    path = tmp_path_factory.mktemp("several") / "c.h5"
    for name, vectors, has in (("first", A, HAS_A), ("b+c", B, HAS_B)):
        synthetic_cache(path, {"text": vectors}, LABELS, encoder=name, present={"text": has})
    # Sealed last, the catalogue has no text of those that the second lacks; they lack the first's then, too.
    return path


@pytest.fixture(scope="module")
def run_path(path):
    done = invoke(heads_train, path, "--encoder", "text=first+b+c", "--runs", path.parent / "runs", "--name", "run",
                  "--fusion", "logistic", *QUICK)  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "text: first+b+c" in done.stdout
    return path.parent / "runs/run"


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_vectors_stand_side_by_side_and_who_lacks_one_has_none(path, on_disk):
    with Cache(path) as cache:
        vectors = load_vectors(cache, encoders={"text": "first+b+c"}, on_disk=on_disk)
        swapped = load_vectors(cache, encoders={"text": "b+c+first"})
    has = HAS_A & HAS_B
    assert vectors.present["text"].tolist() == has.tolist()
    np.testing.assert_array_equal(
        vectors.inputs["text"][torch.arange(N)], np.where(has[:, None], np.concatenate([A, B], axis=1), 0)
    )
    assert (vectors.widths, swapped.widths) == ({"text": (6, 4)}, {"text": (4, 6)})
    assert vectors.specs["text"].fingerprint != swapped.specs["text"].fingerprint


def test_each_encoder_is_standardised_by_its_own_scale():
    inputs, present = {"text": torch.tensor(np.concatenate([A, B], axis=1))}, {"text": torch.ones(N, dtype=torch.bool)}
    rows = torch.arange(N)
    whole = Standardise({"text": 10}).fit(inputs, present, rows, widths={"text": (6, 4)})(inputs, present)["text"]
    for part, columns in ((A, slice(0, 6)), (B, slice(6, 10))):
        alone = {"text": torch.tensor(part)}
        alone = Standardise({"text": part.shape[1]}).fit(alone, present, rows)(alone, present)["text"]
        assert torch.equal(whole[:, columns], alone)
    assert whole[:, 6:].std() > 0.9  # and does not vanish beside vectors ten thousand times as long


def test_contents_are_alike_where_they_are_so_to_all_encoders(tmp_path):
    for name, vectors in (("a", [[1, 0], [1, 0], [0, 1]]), ("b", [[1, 0], [0, 1], [1, 0]])):
        synthetic_cache(tmp_path / "c.h5", {"text": np.array(vectors)}, {"label": ["x", "y", "z"]}, encoder=name)
    with Cache(tmp_path / "c.h5") as cache:
        assert len(set(first_duplicates(cache, "text", ["a"]).tolist())) == 2
        assert len(set(first_duplicates(cache, "text", ["a", "b"]).tolist())) == 1
        alike = first_duplicates(cache, "text", ["a+b"])
        assert alike.tolist() == [0, 1, 2]
        near = first_near_duplicates(cache, "text", ["a+b"], cosine=0.49, firsts=alike)  # the mean of 1 and 0
        assert len(set(near.tolist())) == 1


def test_a_depth_tells_nothing_of_copies(tmp_path):
    """The first blocks of a network give all texts nearly one vector: all of them were copies of each other."""
    path = tmp_path / "c.h5"
    for name, fields, vectors in (("whole", {}, np.eye(3)), ("whole.1", {"depth": "1"}, np.ones((3, 2)))):
        with Journal(path) as journal:
            keys = [content_key(text.encode()) for text in "abc"]
            spec = EncoderSpec("text", {"weights": "w", **fields})
            journal.publish(Part(name, spec, keys, vectors.astype(np.float32), {}))
            seal(path, journal, Products(list("abc"), {}, {"text": Contents(keys, ["ok"] * 3)}))
    with Cache(path) as cache:
        assert first_duplicates(cache, "text", ["whole", "whole.1"]).tolist() == [0, 1, 2]


def test_another_scaling_would_let_one_encoder_drown_the_other(path, tmp_path):
    line = [path, "--encoder", "text=first+b+c", "--scaling", "l2", "--runs", tmp_path, *QUICK]
    done = invoke(heads_train, *line)
    assert done.exit_code == 1
    assert "--scaling: expected z-score where a head takes several encoders of one modality (text)" in " ".join(
        done.stderr.split()
    )


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("first+second", MissingEntryError, "the text encoder 'second', but it holds b+c, first"),
        ("first+first", HeadError, "to name each encoder once"),
    ],
)
def test_a_name_that_cannot_be_had_is_a_named_error(path, name, error, message):
    with Cache(path) as cache, pytest.raises(error, match=message.replace("+", r"\+")):
        load_vectors(cache, encoders={"text": name})


def test_a_head_knows_its_encoders_again_whatever_they_are_called(path, run_path, tmp_path):
    (head,) = (one for name, one in load_heads(run_path).items() if name == "logistic")
    assert head.encoders == {"text": "first+b+c"}
    with Cache(path) as cache:
        answers = head.probabilities(head.vectors_of(cache))
        vectors, _ = CachedProducts([head], cache).vectors(range(N))
        np.testing.assert_array_equal(head.probabilities(vectors), answers)
    assert (answers.argmax(1) == TARGETS)[HAS_A & HAS_B].mean() > 0.9
    synthetic_cache(tmp_path / "other.h5", {"text": A}, LABELS, encoder="first")
    with Cache(tmp_path / "other.h5") as cache, pytest.raises(HeadError, match=r"made as b\+c was, .* first differs"):
        head.vectors_of(cache)


@pytest.mark.parametrize("most_bytes", [0, 2**30])
def test_products_are_similar_by_the_mean_of_the_cosines(path, run_path, monkeypatch, most_bytes):
    monkeypatch.setattr(cached_products, "MOST_IN_MEMORY_BYTES", most_bytes)
    with Cache(path) as cache:
        table = CachedProducts(list(load_heads(run_path, ["logistic"]).values()), cache).tables["text"]
        cosines = table.cosines(table.take([0])[0])
    expected = np.mean([part @ part[0] / np.linalg.norm(part, axis=1) / np.linalg.norm(part[0]) for part in (A, B)], 0)
    np.testing.assert_allclose(cosines[HAS_A & HAS_B], expected[HAS_A & HAS_B], atol=1e-5)


def test_an_ablation_compares_one_encoder_with_several(path, tmp_path):
    options = ["--encoder", "text=first", "--encoder", "text=first+b+c", "--folds", 2, "--json"]
    done = invoke(ablate, path, *options, *QUICK, "--fusion", "logistic", "--runs", tmp_path)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["encoders"] == {"text": ["first", "first+b+c"]}
    assert {row["text_encoder"] for row in report["ranking"]} == {"first", "first+b+c"}
    done = invoke(ablate, path, "--encoder", "image=first", *QUICK, "--runs", tmp_path)
    assert done.exit_code == 1
    assert "got 'image=first'" in done.stderr


def test_a_classifier_standardises_the_columns_of_each_encoder():
    """Those of the second vanish beside the first's where they count as one encoder's."""
    noise = 1e4 * np.random.default_rng(0).standard_normal(A.shape)
    matrix = np.concatenate([noise, B], axis=1)
    scores = [
        FusionClassifier("logistic", modalities={"text": dims}, random_state=0)
        .fit(matrix, TARGETS)
        .score(matrix, TARGETS)
        for dims in ((6, 4), 10)
    ]
    assert scores[0] > 0.95 > scores[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Pictures, two small networks, and a run over both."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = [
        {"id": f"{n:03}", "image": f"{n}.png", "label": f"class {code}"} for n, code in enumerate(TARGETS[:40].tolist())
    ]
    pictures = {f"{n}.png": image_bytes((200 * int(code), 3 * n, 90)) for n, code in enumerate(TARGETS[:40])}
    catalogue = write_catalogue(folder, rows, pictures)
    models = [str(write_vision(folder / kind, kind)) for kind in ("vit", "dinov2")]
    settings = ExtractSettings(modalities=("image",), image_encoder=",".join(models), precision="fp32", device="cpu")
    extract(catalogue, folder / "c.h5", settings=settings)
    train(folder / "c.h5", settings=SMALL, runs_path=folder / "runs", name="run")
    return folder


def test_raw_products_are_answered_as_those_of_the_cache(shop, monkeypatch):
    run = Run.load(shop / "runs/run", cache_path=shop / "nothing.h5", device="cpu")
    with Cache(shop / "c.h5") as cache:
        known = run.heads["image"].probabilities(run.heads["image"].vectors_of(cache))[:4]
    products = [Product(image=(shop / f"{n}.png").read_bytes()) for n in range(4)]
    vectors, statuses = run.products.vectors([*products, Product(image=b"no picture")])
    np.testing.assert_allclose(run.heads["image"].probabilities(vectors)[:4], known, atol=1e-5)
    assert [status["image"] for status in statuses] == ["ok"] * 4 + ["not_an_image"]
    beside = Run.load(shop / "runs/run", device="cpu")
    assert all(beside.products.is_known(product) for product in products)
    monkeypatch.setattr(beside.encoders["image"], "encode", None)  # the cache knows both encoders' vectors
    np.testing.assert_allclose(run.heads["image"].probabilities(beside.products.vectors(products)[0]), known, atol=1e-6)


def test_each_of_several_encoders_is_tried(shop, tmp_path):
    """One that gives other vectors is not hidden by the others."""
    run = Run.load(shop / "runs/run", cache_path=shop / "nothing.h5", device="cpu")
    encoder = run.encoders["image"].parts[1].encoder
    encode = encoder.encode
    encoder.encode = lambda batch: encode(batch)[:, ::-1]
    with pytest.raises(HeadError, match="the image encoder dinov2 to give the vectors that the heads learned from"):
        run.predict(image=shop / "0.png")
    with pytest.raises(HeadError, match=r"--image-encoder: expected one for each of vit, dinov2, with commas"):
        _ = Run.load(shop / "runs/run", encoders={"image_encoder": "elsewhere"}).encoders
    (shop / "dinov2").rename(tmp_path / "moved")
    try:
        moved = Run.load(shop / "runs/run", encoders={"image_encoder": f",{tmp_path / 'moved'}"}, device="cpu")
        assert [part.name for part in moved.encoders["image"].parts] == ["vit", "dinov2"]
    finally:
        (tmp_path / "moved").rename(shop / "dinov2")


def test_a_catalogue_of_new_products_gets_the_vectors_of_all(shop, tmp_path):
    from heads.workflows.predict import predict

    write_catalogue(tmp_path, [{"id": "new", "image": "new.png"}], {"new.png": image_bytes((200, 7, 7))})
    predict(shop / "runs/run", tmp_path / "data.csv", tmp_path / "answers.csv", device="cpu")
    with Cache(tmp_path / "data.embeddings.h5") as cache:
        assert cache.encoders("image") == ["dinov2", "vit"]
    assert "class 1" in (tmp_path / "answers.csv").read_text()


def test_a_model_card_says_in_which_order_the_vectors_of_several_encoders_stand(shop, tmp_path):
    settings = ExportSettings(formats=("pt2",))
    report = export_head(shop / "runs/run", head="image", settings=settings, output=tmp_path / "out")
    names = Run.load(shop / "runs/run").heads["image"].encoders["image"].split("+")
    card = (report.folder / "README.md").read_text(encoding="utf-8")
    assert f"Those of `image` stand side by side in this order: {', '.join(names)}." in card


def test_an_export_takes_one_encoder_of_a_modality(shop):
    with pytest.raises(ExportError, match="Expected one encoder of image for --with-encoder, .* of vit and dinov2"):
        export_head(shop / "runs/run", head="image", settings=ExportSettings(with_encoders=("image",)))
