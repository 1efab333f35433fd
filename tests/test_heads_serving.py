"""What a server answers: as the run does from Python, within its limits, and with a reason where it does not."""

import base64
import csv
import errno
import io
import json
import os
import re
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from served import COLOURS, N_PRODUCTS, Client, client_of, picture, title
from support import image_bytes, write_review_page

import heads
from cache import Cache
from heads.review.saved_answers import SavedAnswers
from heads.serving import page
from heads.serving.app import make_app
from heads.serving.gate import POLICY, Gate
from heads.serving.measurements import Measurements
from heads.serving.serve import serve
from heads.serving.serve_settings import ServeSettings

pytestmark = pytest.mark.slow

TITLE = "a blue cotton shirt"
PRODUCT = {"text": TITLE, "columns": {"gender": "Men"}}


@pytest.fixture(scope="module")
def run(served_run):
    return heads.Run.load(served_run.run_path, device="cpu")


@pytest.fixture(scope="module")
def served(run, served_run):
    client, service = client_of(run, served_run.cache_path, max_products=4, max_characters=2000, max_body_mb=0.5)
    yield SimpleNamespace(client=client, service=service)
    service.close()


@pytest.fixture(scope="module")
def client(served):
    return served.client


def encoded(content):
    return base64.b64encode(content).decode()


def assert_close(said, expected):
    """Answers in blocks of few rows are those in blocks of many, but for the last digits."""
    assert {name: value for name, value in said.items() if name not in ("probability", "top", "heads")} == {
        name: value for name, value in expected.items() if name not in ("probability", "top", "heads")
    }
    assert said["heads"].keys() == expected["heads"].keys()
    pairs = [*zip(said["top"], expected["top"], strict=True), (said, expected)]
    pairs += [(said["heads"][name], expected["heads"][name]) for name in said["heads"] if said["heads"][name]]
    for one, other in pairs:
        assert one["answer"] == other["answer"]
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_base64_may_have_lines_or_be_a_data_url(client):
    """As programs for mail write it, and browsers."""
    plain = client.post("/predict", json={"image": encoded(picture(3))}).json()
    assert plain["statuses"]["image"] == "ok"
    for code in (base64.encodebytes(picture(3)).decode(), f"data:image/png;base64,{encoded(picture(3))}"):
        assert client.post("/predict", json={"image": code}).json() == plain
    assert client.post("/predict", json={"image": "images/3.png"}).status_code == 422


def test_server_says_which_head_answers_what_the_best_has_no_answer_to(served_run, monkeypatch, caplog):
    monkeypatch.setattr("heads.prediction.run._best", lambda _, heads: "image" if "image" in heads else "late")
    monkeypatch.setattr("heads.serving.server.Server", lambda *_, **__: SimpleNamespace(run=print))
    serve(served_run.run_path)
    assert "image, whose answers count, has none for products without image. --head late has." in caplog.text
    caplog.clear()
    serve(served_run.run_path, heads=["image", "late"])
    assert "whose answers count" not in caplog.text


def test_product_is_answered_as_by_the_run_however_it_is_sent(client, run):
    content = image_bytes("green", size=(30, 20))
    expected = run.predict(image=content, text=TITLE, gender="Men", top=2).to_dict()
    form = {"text": TITLE, "gender": "Men", "top": "2"}
    value = {**PRODUCT, "image": encoded(content), "top": 2}
    for done in (
        client.post("/predict", data=form, files={"image": ("a.png", content)}),
        client.post("/predict", json=value),
        client.post("/predict?top=2", json={**PRODUCT, "image": encoded(content)}),
    ):
        assert done.status_code == 200, done.text
        assert_close(done.json(), expected)
    alone = client.post("/predict", content=content, headers={"Content-Type": "image/png"})
    assert_close(alone.json(), run.predict(image=content).to_dict())


def test_columns_that_a_text_is_made_of_may_be_sent_instead(client):
    by_column = client.post("/predict", json={"columns": {"title": "Red Shoes"}}).json()
    assert by_column == client.post("/predict", json={"text": "Red Shoes"}).json()
    for text in ("", " Red  Shoes"):  # as forms send what was left empty, and who sends a product as a whole
        assert client.post("/predict", json={"text": text, "columns": {"title": "Red Shoes"}}).json() == by_column


def test_text_is_not_taken_in_the_place_of_other_cells_that_it_is_made_of(client):
    done = client.post("/predict", json={"text": "Blue cup", "columns": {"title": "Red Shoes"}})
    assert done.status_code == 422
    assert "a text, or cells of what texts are made of (title), got both, and they differ" in done.json()["error"]


def test_product_of_the_cache_is_answered_by_its_id(client, run, served_run):
    with (served_run.run_path / "predictions.csv").open() as file:
        written = {line["id"]: line for line in csv.DictReader(file)}
    assert written
    for product_id, line in list(written.items())[:3]:
        said = client.post("/predict", json={"id": product_id}).json()
        assert said["answer"] == line[run.head]
        for name in run.heads:
            assert said["heads"][name]["probability"] == pytest.approx(float(line[f"{name}_probability"]), abs=1e-5)
    lacking = client.post("/predict", json={"id": "p5"}).json()  # its picture is not there
    assert lacking["statuses"] == {"image": "missing", "text": "ok", "metadata": "absent"}
    assert lacking["heads"]["image"] is None
    expected = run.predict(image=picture(8), text=title(8), gender=("Men", "Women", "")[8 % 3])
    assert_close(client.post("/predict", json={"id": "p8"}).json(), expected.to_dict())


def test_what_is_known_needs_no_encoder(client, run, monkeypatch):
    new = {"text": "some new words"}
    first = client.post("/predict", json=new).json()

    def refuse(_):
        raise AssertionError("an encoder was asked")

    for encoder in run.encoders.values():
        monkeypatch.setattr(encoder, "encode", refuse)
    files = {"image": ("a.png", picture(10))}
    assert client.post("/predict", data={"text": title(12)}, files=files).status_code == 200
    assert client.post("/predict", json={"id": "p12"}).status_code == 200
    assert client.post("/predict", json=new).json() == first
    assert client.post("/predict", json={**new, "columns": {"gender": "Men"}}).status_code == 200
    assert client.post("/predict", json={"text": "never seen"}).status_code == 500


def test_what_is_known_waits_for_no_encoder(client, run, monkeypatch):
    may_end, has_begun = threading.Event(), threading.Event()
    encode = run.encoders["text"].encode

    def slow(batch):
        has_begun.set()
        assert may_end.wait(20)
        return encode(batch)

    monkeypatch.setattr(run.encoders["text"], "encode", slow)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(client.post, "/predict", json={"text": "what takes long"})
        assert has_begun.wait(20)
        assert client.post("/predict", json={"id": "p20"}).status_code == 200
        assert client.post("/predict", json={"text": title(22)}).status_code == 200
        assert not asked.done()
        may_end.set()
        assert asked.result().status_code == 200


def test_explanation_is_all_it_takes_to_compute_late_fusion_again(client, run, served_run):
    """By the formula of the manual: raise, normalise, average by the weights of what answered, raise, normalise."""
    for product in ({"id": "p3"}, {"id": "p5"}, {"text": TITLE}, {**PRODUCT, "image": encoded(picture(2))}):
        said = client.post("/predict?explain=true", json=product).json()
        explain = said["explain"]
        assert explain["classes"] == run.classes
        assert explain["probabilities"].keys() == {
            name for name in ("image", "metadata", "text") if said["heads"][name]
        }
        assert (explain["late"], explain["late_head"]) == ("linear", "late")
        weights = {name: explain["late_weights"][name] for name in explain["probabilities"]}
        if sum(weights.values()) == 0:
            weights = dict.fromkeys(weights, 1.0)
        average = np.zeros(len(run.classes))
        for name, chances in explain["probabilities"].items():
            powers = np.array(chances) ** (1 / explain["late_temperatures"][name])
            average += weights[name] / sum(weights.values()) * powers / powers.sum()
        powers = average ** (1 / explain["late_temperature"])
        late = powers / powers.sum()
        assert run.classes[late.argmax()] == said["heads"]["late"]["answer"]
        assert late.max() == pytest.approx(said["heads"]["late"]["probability"], abs=1e-5)


def test_heads_that_are_served_alone_have_nothing_to_average_and_may_have_nothing_to_compare(served_run):
    run = heads.Run.load(served_run.run_path, heads=["late"], device="cpu")
    late, _ = client_of(run, served_run.cache_path)
    explain = late.post("/predict?explain=true", json={"id": "p3"}).json()["explain"]
    assert (explain["probabilities"], explain["late"], explain["late_weights"]) == ({}, None, None)
    run = heads.Run.load(served_run.run_path, heads=["metadata"], device="cpu")
    metadata, _ = client_of(run, served_run.cache_path)
    assert metadata.post("/predict", json={"columns": {"gender": "Men"}}).json()["heads"].keys() == {"metadata"}
    assert metadata.post("/similar", json={"id": "p3"}).status_code == 404
    assert metadata.get("/about").json()["similar_by"] == []


def test_explanation_says_what_the_answer_would_be_without_each_modality(client, run):
    content = image_bytes("blue", size=(30, 20))
    said = client.post("/predict", json={**PRODUCT, "image": encoded(content), "explain": True}).json()
    without = said["explain"]["without"]
    for modality, given in {
        "image": {"text": TITLE, "gender": "Men"},
        "text": {"image": content, "gender": "Men"},
        "metadata": {"image": content, "text": TITLE},
    }.items():
        expected = run.predict(**given)
        assert without[modality]["answer"] == expected.answer
        assert without[modality]["probability"] == pytest.approx(expected.probability, abs=1e-5)
    alone = client.post("/predict?explain=1", json={"text": TITLE}).json()
    assert alone["explain"]["without"] == {"text": None}


def test_batch_answers_each_or_says_why_not(client):
    products = [{"id": "p1"}, {"id": "nobody"}, {"text": TITLE}, {"image": encoded(b"no picture")}]
    done = client.post("/predict/batch?top=1", json=products)
    first, unknown, third, broken = done.json()["predictions"]
    assert done.status_code == 200
    assert first == client.post("/predict?top=1", json={"id": "p1"}).json()
    assert third == client.post("/predict?top=1", json={"text": TITLE}).json()
    assert (unknown["status"], broken["status"]) == (404, 422)
    assert "nobody" in unknown["error"]
    assert client.post("/predict/batch", json={"products": products[:1], "top": 1}).json()["predictions"] == [first]
    for wrong, status in ([], 422), ("p1", 422), ([{"id": "p1"}] * 5, 413), ({"products": products, "n": 1}, 422):
        assert client.post("/predict/batch", json=wrong).status_code == status


@pytest.mark.parametrize("by", ["image", "text", "fused"])
def test_similar_products_are_those_of_the_plain_formula(client, served_run, by):
    names = ["image", "text"] if by == "fused" else [by]
    with Cache(served_run.cache_path) as cache:
        matrices = {name: cache.matrix(name) for name in names}
    row, means = 4, {}
    for other in range(N_PRODUCTS):
        cosines = [
            float(matrix[row] @ matrix[other] / np.linalg.norm(matrix[row]) / np.linalg.norm(matrix[other]))
            for matrix in matrices.values()
        ]
        known = [cosine for cosine in cosines if not np.isnan(cosine)]
        if known and other != row:
            means[f"p{other}"] = sum(known) / len(known)
    said = client.post("/similar", json={"id": f"p{row}", "n": 100, "by": by}).json()
    assert (said["by"], said["modalities"]) == (by, names)
    assert len(said["products"]) == len(means)
    similarities = [product["similarity"] for product in said["products"]]
    assert similarities == sorted(similarities, reverse=True)
    for product in said["products"]:
        assert product["similarity"] == pytest.approx(means[product["id"]], abs=1e-5)
    few = client.post("/similar", json={"id": f"p{row}", "n": 3, "by": by}).json()["products"]
    assert few == said["products"][:3]


def test_similar_products_of_a_raw_one_have_what_is_shown_of_them(client):
    files = {"image": ("x", picture(4))}
    said = client.post("/similar", data={"by": "image", "n": "1"}, files=files).json()
    [nearest] = said["products"]
    label = f"{COLOURS[0]} shirt"
    assert nearest == {
        "id": "p4", "similarity": pytest.approx(1), "title": title(4), "picture": "/products/4/picture", "label": label
    }  # fmt: skip
    assert client.post("/similar", data={"by": "text"}, files=files).status_code == 422
    assert client.post("/similar", data={"by": "sound"}, files=files).status_code == 422


def test_picture_of_a_product_is_shown_small_and_no_other_file(client, served_run):
    done = client.get("/products/4/picture")
    assert done.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(done.content)) as shown:
        assert shown.size == (24, 24)
    tricks = ["5", "60", "-1", "+4", "4.0", "٤", "9" * 5000, "../data.csv", "..%2f..%2fdata.csv", "p4", "%00", "4%20"]
    assert [client.get(f"/products/{row}/picture").status_code for row in tricks] == [404] * len(tricks)


def test_it_is_said_where_no_picture_of_a_known_product_is_found(served, tmp_path, caplog):
    with caplog.at_level("INFO", logger="embed_once"):
        make_app(served.service)
        assert not caplog.messages
        make_app(served.service, image_root=tmp_path)
    (said,) = caplog.messages
    assert said.startswith("Known products are shown without pictures. None of the pictures that image names was found")


def test_picture_that_leads_out_of_the_root_is_not_shown(served, served_run, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").symlink_to(served_run.catalogue_path.parent / "images" / "0.png")
    (tmp_path / "images" / "1.png").write_bytes(picture(1))
    (tmp_path / "images" / "2.png").write_text("id,secret")
    os.mkfifo(tmp_path / "images" / "3.png")
    app = make_app(served.service, image_root=tmp_path)
    client = Client(Gate(app, settings=served.service.settings, measurements=Measurements()))
    assert [client.get(f"/products/{row}/picture").status_code for row in range(4)] == [404, 200, 404, 404]


def test_about_says_what_a_page_needs(client, run):
    about = client.get("/about").json()
    assert (about["label"], about["classes"], about["head"]) == ("label", run.classes, run.head)
    assert about["heads"]["late"] == about["modalities"] == ["image", "metadata", "text"]
    assert about["metadata_columns"] == [{"name": "gender", "kind": "categorical", "categories": ["", "Men", "Women"]}]
    assert about["text_columns"] == ["title"]
    assert about["late_weights"].keys() == {"image", "metadata", "text"}
    assert (about["n_products"], about["similar_by"]) == (N_PRODUCTS, ["fused", "image", "text"])


def bomb():
    """A PNG whose head claims 200 megapixels, and that holds a few bytes."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


LARGE = b"x" * 600_000
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=B"}
PART = b'--B\r\nContent-Disposition: form-data; name="text"\r\n\r\nshirt\r\n'


@pytest.mark.parametrize(
    ("status", "options"),
    [
        pytest.param(status, options, id=name)
        for name, status, options in [
            ("200 megapixels", 413, {"files": {"image": bomb()}}),
            ("no picture", 422, {"files": {"image": b"GIF, they said"}}),
            ("cut off", 422, {"files": {"image": image_bytes(size=(99, 99))[:120]}}),
            ("empty picture", 422, {"files": {"image": ("a.png", b"")}}),
            ("empty body", 422, {"content": b"", "headers": {"Content-Type": "image/png"}}),
            ("empty text", 422, {"data": {"text": " \n"}}),
            ("nothing", 422, {"json": {}}),
            ("1 MB of text", 413, {"json": {"text": "word " * 200_000}}),
            ("long text", 413, {"data": {"text": "x" * 2001}}),
            ("long cell", 413, {"json": {"columns": {"gender": "x" * 2001}}}),
            ("lone surrogate", 422, {"content": rb'{"text": "\ud800"}', "headers": JSON}),
            ("unknown column", 422, {"data": {"text": "x", "colour": "red"}}),
            ("unknown key", 422, {"json": {"path": "/etc/passwd"}}),
            ("path for a picture", 422, {"json": {"image": "/etc/passwd"}}),
            ("path in a form", 422, {"data": {"image": "/etc/passwd"}}),
            ("id and text", 422, {"json": {"id": "p1", "text": "x"}}),
            ("unknown id", 404, {"json": {"id": "../../p1"}}),
            ("no object", 422, {"json": ["p1"]}),
            ("number for a text", 422, {"json": {"text": 3}}),
            ("field twice", 422, {"files": [("text", (None, "a")), ("text", (None, "b"))]}),
            ("top of none", 422, {"json": {"text": "x", "top": 0}}),
            ("top of many", 422, {"json": {"text": "x", "top": "9" * 5000}}),
            ("no JSON", 400, {"content": b"{", "headers": JSON}),
            ("deep JSON", 400, {"content": b"[" * 200_000, "headers": JSON}),
            ("no boundary", 400, {"content": PART, "headers": {"Content-Type": "multipart/form-data"}}),
            ("other boundary", 400, {"content": b"--C--", "headers": FORM}),
            ("broken off", 400, {"content": PART, "headers": FORM}),
            ("no part", 400, {"content": b"--B\rfoo--B--", "headers": FORM}),
            ("no type", 415, {"content": b"hello"}),
            ("compressed", 415, {"content": b"{}", "headers": {**JSON, "Content-Encoding": "gzip"}}),
            ("other type", 415, {"content": b"hello", "headers": {"Content-Type": "text/plain"}}),
            ("large", 413, {"content": LARGE, "headers": {"Content-Type": "image/png"}}),
            ("large form", 413, {"files": {"image": LARGE}}),
        ]
    ],
)  # fmt: skip
def test_bad_request_gets_its_status_and_a_reason(client, status, options):
    done = client.post("/predict", **options)
    assert done.status_code == status, done.text
    assert done.json().keys() == {"error"}
    assert done.json()["error"].startswith("Expected ")


def test_chunked_body_is_counted_as_it_comes(client):
    taken = 0

    async def chunks():
        nonlocal taken
        for _ in range(100):
            taken += 50_000
            yield b"x" * 50_000

    done = client.post("/predict", content=chunks(), headers={"Content-Type": "image/png"})
    assert done.status_code == 413
    assert "content-length" not in done.request.headers


def test_errors_of_the_router_are_json_too(client):
    for done, status in ((client.get("/nothing"), 404), (client.get("/predict"), 405), (client.get("/docs"), 404)):
        assert done.status_code == status
        assert done.json()["error"].startswith("Expected ")


def test_slash_too_many_leads_nowhere_else(client):
    """A redirect would name http where a proxy speaks https, and lose its prefix."""
    done = client.post("/predict/", json={"text": "Red Shoes"}, follow_redirects=False)
    assert (done.status_code, "location" in done.headers) == (404, False)
    assert done.json()["error"].endswith("None ends with a slash.")


def test_bodies_and_requests_are_bounded_together(run):
    client, _ = client_of(run, None, max_body_memory_mb=0.1)
    full, _ = client_of(run, None, max_parallel=0)
    done = client.post("/predict", content=LARGE, headers={"Content-Type": "image/png"})
    assert (done.status_code, done.headers["retry-after"]) == (503, "1")
    assert client.post("/predict", json=PRODUCT).status_code == 200  # nothing is held of the first
    done = full.post("/predict", json=PRODUCT)
    assert (done.status_code, done.headers["retry-after"]) == (503, "1")
    assert full.get("/healthz").status_code == 200


def test_too_late_is_504_and_too_many_waiting_503(run, monkeypatch):
    client, service = client_of(run, None, deadline_s=0.2, max_waiting=1)
    assert client.post("/predict/batch", json=[{"text": "one new"}, {"text": "another new"}]).status_code == 503
    monkeypatch.setattr(service.run.products, "vectors", lambda _: time.sleep(0.6))
    assert client.post("/predict", json=PRODUCT).status_code == 504


def test_what_the_memory_lacks_room_for_is_503_and_the_log_says_why(client, run, monkeypatch, caplog):
    def encode(_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(run.encoders["text"], "encode", encode)
    done = client.post("/predict", json={"text": "not seen until now"})
    assert (done.status_code, done.headers["retry-after"]) == (503, "1")
    assert "its log says why" in done.json()["error"]
    assert "Tried to allocate 2.00 GiB" in caplog.text


def test_without_a_cache_products_are_answered_but_none_is_known(run):
    client, _ = client_of(run, None)
    assert client.post("/predict", json=PRODUCT).status_code == 200
    asked = [client.post("/predict", json={"id": "p1"}), client.post("/similar", json=PRODUCT)]
    for done in [*asked, client.get("/products/0/picture")]:
        assert done.status_code == 404
        assert "--cache" in done.json()["error"]
    assert client.get("/about").json()["similar_by"] == []


def test_nothing_is_answered_before_encoders_are_loaded(run):
    client, service = client_of(run, None)
    service.is_ready = False
    assert client.get("/healthz").status_code == 200
    for done in (client.get("/readyz"), client.post("/predict", json=PRODUCT)):
        assert (done.status_code, done.headers["retry-after"]) == (503, "1")
    service.is_ready = True
    assert client.get("/readyz").status_code == 200


def test_token_opens_all_but_the_page_and_the_states(run):
    client, _ = client_of(run, None, token="swordfish")  # noqa: S106 - a test's
    assert client.post("/predict", json=PRODUCT).status_code == 200
    for header in (
        {},
        {"Authorization": "Bearer sword"},
        {"Authorization": "swordfish"},
        {"Authorization": "Bearer ß"},
    ):
        other = Client(client.app, headers={name: value.encode() for name, value in header.items()})
        for done in (other.post("/predict", json=PRODUCT), other.get("/about"), other.get("/metrics"), other.get("/x")):
            assert (done.status_code, done.headers["www-authenticate"]) == (401, "Bearer")
        assert [other.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    lower_case = Client(client.app, headers={"Authorization": b"bearer swordfish"})
    assert lower_case.get("/about").status_code == 200


def test_review_is_opened_by_a_password_and_says_why_it_saves_nothing(served, tmp_path, monkeypatch):
    saved = SavedAnswers(write_review_page(tmp_path))
    settings = ServeSettings(token="swordfish")  # noqa: S106 - a test's
    client = Client(Gate(make_app(served.service, review=saved), settings=settings, measurements=Measurements()))
    answers = {"json": {"answers": [["0", "a"]]}}
    for auth in (None, ("me", "sword"), ("swordfish", "")):
        for done in (client.get("/review", auth=auth), client.post("/review/answers", auth=auth, **answers)):
            assert (done.status_code, done.headers["www-authenticate"]) == (401, 'Basic realm="embed-once"')
    auth = ("", "swordfish")
    assert client.get("/about", auth=auth).status_code == 401  # to a page of another site a browser adds it, too
    assert client.get("/review", auth=auth).status_code == 200
    assert client.post("/review/answers", auth=auth, **answers).status_code == 200
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr("heads.review.saved_answers.write_aside", Mock(side_effect=full))
    refused = client.post("/review/answers", auth=auth, json={"answers": [["1", "a"]]})
    assert (refused.status_code, "No space left on device" in refused.json()["error"]) == (507, True)
    assert client.get("/review/answers", auth=auth).json()["answers"] == {"0": "a"}
    saved.path.write_text("product\n")
    refused = client.post("/review/answers", auth=auth, **answers)
    assert (refused.status_code, "columns product and label" in refused.json()["error"]) == (409, True)


def test_page_from_elsewhere_cannot_have_its_own_name_lead_here(client, run):
    names = [
        "localhost:8000",
        "127.0.0.1",
        "[::1]:8000",
        "evil.example",
        "127.0.0.1.evil.example:8000",
        "localhost.evil",
    ]
    statuses = [client.get("/about", headers={"Host": name}).status_code for name in names]
    assert statuses == [200, 200, 200, 421, 421, 421]
    for limits in ({"host": "0.0.0.0"}, {"token": "swordfish"}):  # noqa: S104 - nothing listens
        named, _ = client_of(run, None, **limits)
        assert named.get("/about", headers={"Host": "shop.example"}).status_code == 200


def test_every_answer_has_the_strict_policy(client):
    for path in ("/healthz", "/nothing", "/about", "/"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_page_is_sent_as_it_lies_in_the_package_and_names_all_its_files(client):
    text = "".join(path.read_text(encoding="utf-8") for path in page.FILES.values())
    named = re.findall(r'(?:from "\./|src="|rel="stylesheet" href=")([^"]+)"', text)
    assert {f"/{name}" for name in named} == page.FILES.keys() - {"/"}
    for place, path in page.FILES.items():
        done = client.get(place)
        assert done.content == path.read_bytes()
        assert done.headers["content-type"].startswith({".js": "text/javascript"}.get(path.suffix, "text/"))


def test_openapi_has_examples_that_are_answered_and_names_nothing_outside(client):
    schema = client.get("/openapi.json").json()
    assert {"/predict", "/predict/batch", "/similar", "/about", "/metrics", "/products/{row}/picture"} < schema[
        "paths"
    ].keys()
    assert "http" not in json.dumps(schema)
    body = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    statuses = {
        name: client.post("/predict", json=example["value"]).status_code for name, example in body["examples"].items()
    }
    assert statuses == {"by id": 404, "text and columns": 200, "picture": 200}


def test_figures_are_counted_by_endpoint_and_status(client):
    client.post("/predict", json={})
    client.get("/a/path/of/nobody")
    text = client.get("/metrics").text
    assert 'embed_once_requests_total{endpoint="/predict",status="422"}' in text
    assert 'embed_once_products_waiting{lane="known"} 0.0' in text
    assert "embed_once_requests_in_flight 1.0" in text  # the one that asks
    assert 'endpoint="other",status="404"' in text  # whatever the path was
