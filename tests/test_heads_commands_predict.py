"""`heads-predict` answers a cache's products as the run's own predictions do."""

import csv
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
from support import FUSIONS, class_vectors, invoke, synthetic_cache
from user_heads import PLAIN_SOURCE

from cache import Cache, Contents, ContentSpec, Journal, Products, seal
from heads.commands.predict import predict
from heads.modules.saving.saved_head import TrainedHead
from heads.prediction.run import Run
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

N = 200
NAMES = ["image", "text", *FUSIONS]
QUICK = TrainSettings(hidden_dim=32, max_epochs=2, n_resamples=100, weights="0.3,0.7")
HAS = {"image": np.arange(N) % 8 != 3, "text": np.arange(N) % 10 != 5}  # rows 75, 115, 155 and 195 lack both
N_WITHOUT = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predicting")


@pytest.fixture(scope="module")
def cache_path(folder):
    targets = np.random.default_rng(0).integers(3, size=N)
    vectors = {"image": class_vectors(targets, 8, spread=2.0, seed=1), "text": class_vectors(targets, 12, seed=2)}
    return synthetic_cache(folder / "c.h5", vectors, {"label": [f"class {code}" for code in targets]}, present=HAS)


@pytest.fixture(scope="module")
def run_path(folder, cache_path):
    return train(cache_path, settings=QUICK, runs_path=folder / "runs").run_path


@pytest.fixture
def own_run(run_path, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(run_path, tmp_path / "run")


FRONT = ["answer", "probability", "answer_2", "probability_2", "answer_3", "probability_3", "disagree"]


def answers_of(text):
    """Return each product's answers by its id: those of each head, in the columns behind the one that counts."""
    lines = {line.pop("id"): line for line in csv.DictReader(io.StringIO(text, newline=""))}
    return {product: {name: line[name] for name in line if name not in FRONT} for product, line in lines.items()}


def predicted(cache_path, run_path, *arguments):
    result = invoke(predict, cache_path, "--run", run_path, *arguments)
    assert result.exit_code == 0, result.stderr
    return answers_of(result.stdout)


def recatalogued(cache_path, path, *, order, ids):
    """Seal the same contents under another catalogue: the products of `order` with other ids."""
    shutil.copy(cache_path, path)
    with Cache(path) as cache:
        contents = {}
        for modality in cache.modalities:
            keys = np.append(cache.keys(modality).astype(str), "")
            statuses = np.array(cache.statuses(modality))
            contents[modality] = Contents(
                keys[cache.rows(modality)[order]].tolist(), statuses[np.array(order)].tolist()
            )
    with Journal(path) as journal:
        seal(path, journal, Products(ids=list(ids), columns={}, contents=contents))
    return path


def assert_one_line(result, *, exit_code=1):
    assert result.exit_code == exit_code, result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_every_product_gets_an_answer_of_every_head(cache_path, run_path):
    found = predicted(cache_path, run_path)
    assert list(found) == [f"{n:05}" for n in range(N)]
    assert list(found["00000"]) == [cell for name in NAMES for cell in (name, f"{name}_probability")]


def test_test_products_are_answered_as_in_the_runs_predictions(cache_path, run_path):
    found = predicted(cache_path, run_path)
    written = answers_of((run_path / "predictions.csv").read_text(encoding="utf-8"))
    assert len(written) > 20
    for product_id, line in written.items():
        del line["label"]
        assert found[product_id] == line


def test_answers_are_those_of_the_heads_in_python(cache_path, run_path):
    found = predicted(cache_path, run_path)
    with Cache(cache_path) as cache:
        for name, head in load_heads(run_path).items():
            matrix = head.probabilities(head.vectors_of(cache))
            for n in range(0, N, 6):
                if not (HAS["image"][n] or HAS["text"][n]):
                    continue
                line = found[f"{n:05}"]
                assert line[name] == head.classes[matrix[n].argmax()]
                assert line[f"{name}_probability"] == f"{matrix[n].max():.6f}"


@pytest.mark.parametrize("names", [["late"], ["text"], ["early", "image"]])
def test_heads_may_be_chosen(cache_path, run_path, names):
    arguments = [part for name in names for part in ("--head", name)]
    found = predicted(cache_path, run_path, *arguments)
    assert list(found["00000"]) == [cell for name in names for cell in (name, f"{name}_probability")]


@pytest.mark.parametrize("name", NAMES)
def test_a_heads_answers_do_not_depend_on_which_others_are_asked(cache_path, run_path, name):
    together, alone = predicted(cache_path, run_path), predicted(cache_path, run_path, "--head", name)
    assert {product: line[name] for product, line in together.items()} == {
        product: line[name] for product, line in alone.items()
    }


def test_the_answer_that_counts_stands_first(cache_path, run_path):
    for arguments, head in ([[], Run(run_path).head], [["--head", "text", "--head", "late"], "text"]):
        result = invoke(predict, cache_path, "--run", run_path, *arguments)
        lines = list(csv.DictReader(io.StringIO(result.stdout, newline="")))
        assert list(lines[0])[: len(FRONT) + 1] == ["id", *FRONT]
        for line in lines:
            assert (line["answer"], line["probability"]) == (line[head], line[f"{head}_probability"])
            chances = [float(line[name] or 0) for name in ("probability", "probability_2", "probability_3")]
            assert chances == sorted(chances, reverse=True)
            assert sum(chances) == pytest.approx(1 if line["answer"] else 0, abs=1e-5)  # of three classes
            assert (line["disagree"] == "yes") == bool(
                "" not in (line["text"], line.get("image", "")) and line["text"] != line.get("image", line["text"])
            )


def test_all_heads_share_one_reading(cache_path, run_path, monkeypatch):
    read = []
    vectors_of = TrainedHead.vectors_of
    monkeypatch.setattr(
        TrainedHead, "vectors_of", lambda *given, **options: read.append(given) or vectors_of(*given, **options)
    )
    predicted(cache_path, run_path)
    assert len(read) == 1


def test_no_network_answers_twice(cache_path, run_path, monkeypatch):
    """Late fusion and the guards are made of other heads, whose answers are at hand."""
    answered = []
    log_probabilities = TrainedHead.log_probabilities

    def noting(head, *arguments, **options):
        answered.append(head.name)
        return log_probabilities(head, *arguments, **options)

    monkeypatch.setattr(TrainedHead, "log_probabilities", noting)
    heads = load_heads(run_path)
    answered.clear()  # the golden rows
    monkeypatch.setattr("heads.prediction.run.load_heads", lambda *_, **__: heads)
    predicted(cache_path, run_path)
    assert sorted(answered) == sorted(name for name in NAMES if name != "late")
    answered.clear()
    monkeypatch.setattr("heads.prediction.run.load_heads", lambda *_, **__: {"late": heads["late"]})
    predicted(cache_path, run_path)
    assert sorted(answered) == ["image", "text"]


def test_an_unknown_head_lists_those_there_are(cache_path, run_path):
    result = invoke(predict, cache_path, "--run", run_path, "--head", "fused")
    assert_one_line(result)
    assert f"--head: expected one of {', '.join(NAMES)}, got fused" in result.stderr


def test_products_without_a_vector_get_no_answer_and_are_counted(cache_path, run_path):
    result = invoke(predict, cache_path, "--run", run_path)
    found = answers_of(result.stdout)
    without = [n for n in range(N) if not (HAS["image"][n] or HAS["text"][n])]
    assert len(without) == N_WITHOUT
    assert result.stderr == f"{N_WITHOUT} of {N} products have no vector and get no answer.\n"
    for n in without:
        assert set(found[f"{n:05}"].values()) == {""}
    assert all(found[f"{n:05}"]["early"] for n in range(N) if n not in without)


def test_a_single_heads_products_need_its_own_modality(cache_path, run_path):
    result = invoke(predict, cache_path, "--run", run_path, "--head", "image")
    lacking = [n for n in range(N) if not HAS["image"][n]]
    assert result.stderr == f"{len(lacking)} of {N} products have no vector and get no answer.\n"
    found = answers_of(result.stdout)
    assert all((found[f"{n:05}"]["image"] == "") == (n in lacking) for n in range(N))


def test_output_goes_to_the_file_that_is_named(cache_path, run_path, tmp_path):
    result = invoke(predict, cache_path, "--run", run_path, "-o", tmp_path / "answers.csv")
    answered = f"{tmp_path / 'answers.csv'}: answers of {Run(run_path).head} to {N - N_WITHOUT} of {N} products; "
    assert result.exit_code == 0
    assert result.stdout.startswith(answered + "picture and text disagree on ")
    written = (tmp_path / "answers.csv").read_text(encoding="utf-8")
    assert answers_of(written) == predicted(cache_path, run_path)


def test_other_and_reordered_products_get_the_same_answers_by_content(cache_path, run_path, tmp_path):
    """A catalogue of 1,500: every product in another order, many of them under several ids."""
    order = np.random.default_rng(1).permutation(np.arange(1500) % N)
    ids = [f"{row:05}-{n}" for n, row in enumerate(order)]
    found = predicted(recatalogued(cache_path, tmp_path / "c.h5", order=order, ids=ids), run_path)
    before = predicted(cache_path, run_path)
    assert list(found) == ids
    for product_id, line in found.items():
        assert line == before[product_id.partition("-")[0]]


def test_one_product_alone_gets_the_same_answer(cache_path, run_path, tmp_path):
    path = recatalogued(cache_path, tmp_path / "c.h5", order=[42], ids=["alone"])
    assert predicted(path, run_path)["alone"] == predicted(cache_path, run_path)["00042"]


def test_the_same_vectors_under_another_encoder_name_are_found(cache_path, run_path, tmp_path):
    """A second encoder in the cache is no matter either."""
    path = shutil.copy(cache_path, tmp_path / "c.h5")
    others = {"image": np.zeros((N, 8)), "text": np.ones((N, 12))}
    synthetic_cache(path, others, {"label": ["a"] * N}, present=HAS, encoder="another")
    assert predicted(path, run_path) == predicted(cache_path, run_path)


def test_vectors_of_another_encoder_are_refused_by_the_field_that_differs(run_path, tmp_path):
    vectors = {"image": np.zeros((4, 8)), "text": np.zeros((4, 12))}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {}, encoder="other")
    result = invoke(predict, path, "--run", run_path)
    assert_one_line(result)
    assert "other differs in weights" in result.stderr


def test_a_cache_without_the_modality_is_refused_for_heads_that_need_it(run_path, tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"text": np.zeros((4, 12))}, {})
    result = invoke(predict, path, "--run", run_path)
    assert_one_line(result)
    assert "to hold the modality 'image', but it holds text" in result.stderr
    assert len(predicted(path, run_path, "--head", "text")) == 4


@pytest.mark.parametrize("missing", ["folder", "config"])
def test_what_is_no_run_folder_is_said_to_be_none(cache_path, tmp_path, missing):
    if missing == "config":
        (tmp_path / "run").mkdir()
    result = invoke(predict, cache_path, "--run", tmp_path / "run")
    assert_one_line(result)
    assert "a run to be a folder that heads-train wrote" in result.stderr


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "3", "{}", '{"heads": []}', '{"heads": 3}', '{"heads": null}', '{"heads": [3]}']
)
def test_a_damaged_config_is_a_named_error(cache_path, own_run, content):
    (own_run / "config.json").write_text(content)
    assert_one_line(invoke(predict, cache_path, "--run", own_run))


def test_a_run_that_lacks_a_heads_file_names_it(cache_path, own_run):
    (own_run / "late.safetensors").unlink()
    result = invoke(predict, cache_path, "--run", own_run)
    assert_one_line(result)
    assert "late.safetensors is not there" in result.stderr
    assert predicted(cache_path, own_run, "--head", "early")


@pytest.mark.parametrize("content", [None, b"no cache"])
def test_what_is_no_cache_is_a_named_error(run_path, tmp_path, content):
    if content is not None:
        (tmp_path / "c.h5").write_bytes(content)
    result = invoke(predict, tmp_path / "c.h5", "--run", run_path)
    assert_one_line(result)
    assert "c.h5" in result.stderr


def test_the_usual_cache_is_embeddings_h5(run_path):
    result = invoke(predict, "--run", run_path)
    assert_one_line(result)
    assert "embeddings.h5" in result.stderr


def test_a_run_must_be_named(cache_path):
    result = invoke(predict, cache_path)
    assert result.exit_code == 2
    assert "--run" in result.stderr


@pytest.mark.parametrize("wrong", [["--head", "fused"], ["--run", "nowhere"]])
def test_a_failed_prediction_leaves_an_older_output_as_it_was(cache_path, run_path, tmp_path, wrong):
    output = tmp_path / "answers.csv"
    output.write_text("precious")
    assert_one_line(invoke(predict, cache_path, "--run", run_path, "-o", output, *wrong))
    assert output.read_text() == "precious"


def test_an_output_that_cannot_be_written_is_a_named_error(cache_path, run_path, tmp_path):
    result = invoke(predict, cache_path, "--run", run_path, "-o", tmp_path / "nowhere" / "answers.csv")
    assert_one_line(result)
    assert "nowhere" in result.stderr


@pytest.mark.parametrize("to_file", [True, False])
def test_ids_that_are_not_unicode_are_written_as_they_were(cache_path, run_path, tmp_path, to_file):
    bad = b"caf\xe9".decode(errors="surrogateescape")
    path = recatalogued(cache_path, tmp_path / "c.h5", order=[0, 1], ids=[bad, "tea"])
    output = ["-o", tmp_path / "answers.csv"] if to_file else []
    result = invoke(predict, path, "--run", run_path, *output)
    assert result.exit_code == 0
    content = (tmp_path / "answers.csv").read_bytes() if to_file else result.stdout_bytes
    assert [line.split(b",")[0] for line in content.splitlines()] == [b"id", b"caf\xe9", b"tea"]


def test_a_run_of_one_modality_answers_too(cache_path, tmp_path):
    settings = replace(QUICK, fusions=(), weights=None, modalities=("text",))
    run_path = train(cache_path, settings=settings, runs_path=tmp_path / "runs").run_path
    assert list(predicted(cache_path, run_path)["00000"]) == ["text", "text_probability"]


def test_a_head_of_one_s_own_answers_where_its_code_may_run(cache_path, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLAIN_SOURCE)
    settings = replace(QUICK, fusions=(f"{path}:Mine",), max_epochs=2, weights=None)
    run_path = train(cache_path, settings=settings, runs_path=tmp_path / "runs").run_path
    result = invoke(predict, cache_path, "--run", run_path)
    assert_one_line(result)
    assert "heads-predict --plugins" in result.stderr
    found = predicted(cache_path, run_path, "--plugins")
    with (run_path / "predictions.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            assert found[line["id"]]["Mine"] == line["Mine"]


TEXTS = replace(QUICK, fusions=("text",), weights=None)
NAME, BODY = (ContentSpec("text", {"columns": [name]}) for name in ("name", "description"))


def made_of(path, spec):
    """Seal a cache that says how its texts are made; return its path."""
    targets = np.arange(60) % 3
    specs = {"text": spec} if spec else {}
    return synthetic_cache(
        path, {"text": class_vectors(targets, 6)}, {"label": [f"{one}" for one in targets]}, made_of=specs
    )


@pytest.fixture
def name_run(tmp_path):
    return train(made_of(tmp_path / "a.h5", NAME), settings=TEXTS, runs_path=tmp_path / "runs").run_path


def test_a_cache_of_another_column_is_refused_by_name(name_run, tmp_path):
    """A head of names answered descriptions: 1.00 became 0.21, and nothing was said."""
    result = invoke(predict, made_of(tmp_path / "b.h5", BODY), "--run", name_run)
    assert_one_line(result)
    assert "Expected text made of column name, as where the head" in result.stderr
    assert "is made of column description. Extract it in the same way, or say --renamed" in result.stderr


def test_columns_may_be_said_to_be_renamed(name_run, tmp_path):
    path = made_of(tmp_path / "b.h5", BODY)
    assert len(predicted(path, name_run, "--renamed")) == 60
    cleaned = made_of(tmp_path / "c.h5", ContentSpec("text", {"columns": ["description"], "clean": True}))
    result = invoke(predict, cleaned, "--run", name_run, "--renamed")
    assert_one_line(result)
    assert "made of column description; clean: true. Extract it in the same way." in result.stderr


@pytest.mark.parametrize("spec", [None, NAME])
def test_what_is_made_alike_or_is_not_known_is_answered(name_run, tmp_path, spec):
    assert len(predicted(made_of(tmp_path / "b.h5", spec), name_run)) == 60


def test_a_head_that_does_not_know_how_its_contents_were_made_answers_all(tmp_path):
    run = train(made_of(tmp_path / "a.h5", None), settings=TEXTS, runs_path=tmp_path / "runs").run_path
    assert len(predicted(made_of(tmp_path / "b.h5", BODY), run)) == 60


def test_more_vectors_than_memory_permits_are_an_error_before_any_is_read(cache_path, run_path):
    """N products of one content take N times its bytes: a small file is no measure."""
    result = invoke(predict, cache_path, "--run", run_path, "--memory", "15K")
    assert result.exit_code == 1
    assert "got 200 rows of 20 dimensions, 0.0 MB. Permit more with memory=1M (--memory)" in result.stderr
    assert invoke(predict, cache_path, "--run", run_path, "--memory", "16K", "--head", "image").exit_code == 0
