"""Metadata as a modality of its own: in trainings, ablations and predictions."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import BY_STEPS, FUSIONS, ROOT, class_vectors, invoke, synthetic_cache

from cache import Cache
from heads.ablation.ablation_settings import AblationSettings
from heads.commands.ablate import ablate as ablate_command
from heads.commands.predict import predict as predict_command
from heads.commands.train import train as train_command
from heads.errors import HeadError, SettingError
from heads.experiment.problem import pose
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.workflows.ablate import ablate
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

COLUMNS = ("material", "price", "since")
QUICK = TrainSettings(
    fusions=("early",), hidden_dim=16, max_epochs=1, n_resamples=100, precision="fp32", metadata_columns=COLUMNS
)
FITTING = TrainSettings().fusions  # those that there are modalities for
N_PRODUCTS = 240


def shop_columns(*, seed=0):
    """Return columns of a shop; material and price tell something of the label, group follows from it."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(4, size=N_PRODUCTS)
    materials = np.array(["wool", "silk", "קטן", "👟 x"], dtype=object)
    drawn = np.where(generator.random(N_PRODUCTS) < 0.7, targets, generator.integers(4, size=N_PRODUCTS))
    prices = (10.0 * targets + generator.normal(0, 8, N_PRODUCTS)).round(2)
    columns = {
        "label": [f"class {code}" for code in targets],
        "material": materials[drawn].tolist(),
        "price": [f"{price}" if n % 9 else "" for n, price in enumerate(prices)],
        "since": [f"20{20 + n % 5}-0{1 + n % 9}-11" for n in range(N_PRODUCTS)],
        "title": [f"a title that is number {n}" for n in range(N_PRODUCTS)],
        "alias": [f"CLASS {code}" for code in targets],
        "group": [f"group {code // 2}" for code in targets],
        "image": generator.choice(["left", "right"], N_PRODUCTS).tolist(),
        "metadata": generator.choice(["up", "down"], N_PRODUCTS).tolist(),
        "text": generator.choice(["1", "0", ""], N_PRODUCTS).tolist(),
        "empty": [""] * N_PRODUCTS,
        "number": [str(1000 + n) for n in range(N_PRODUCTS)],
    }
    for name in COLUMNS:
        columns[name][7] = ""
    return targets, columns


def shop(path, *, altered=None, **options):
    targets, columns = shop_columns()
    columns |= altered or {}
    vectors = {
        "image": class_vectors(targets, 8, spread=2.0, seed=1),
        "text": class_vectors(targets, 6, spread=2.0, seed=2),
    }
    return synthetic_cache(path, vectors, columns, **options)


@pytest.fixture(scope="module")
def cache_path(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("metadata") / "c.h5")


@pytest.fixture
def run(cache_path, tmp_path):
    def run(*, cache=cache_path, **changes):
        if "modalities" in changes:
            changes = {"fusions": FITTING, **changes}
        return train(cache, settings=replace(QUICK, **changes), runs_path=tmp_path / "runs")

    return run


@pytest.fixture(scope="module")
def trained(cache_path, tmp_path_factory):
    """The report of a quick training of early and late fusion."""
    settings = replace(QUICK, fusions=("early", "late"))
    return train(cache_path, settings=settings, runs_path=tmp_path_factory.mktemp("trained"))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def note_of(report, start):
    return next(note for note in report.notes if note.startswith(start))


def test_metadata_is_a_modality_in_every_head(run):
    report = run(
        fusions=(*FUSIONS, "neighbours", f"{ROOT / 'tests' / 'user_heads.py'}:Usual"),
        weights="0.3,0.5,0.2",
        guard=True,
    )
    singles, fused = ["image", "metadata", "text"], [*FUSIONS, "neighbours", "Usual"]
    assert [name for name in report.metrics if not name.endswith("+guard")] == [
        *singles,
        *fused,
    ]
    assert {name.removesuffix("+guard") for name in report.metrics if name.endswith("+guard")} == {*BY_STEPS, "Usual"}
    assert report.encoders == {"image": "synthetic", "metadata": "columns", "text": "synthetic"}
    assert report.weights == {"image": 0.3, "metadata": 0.5, "text": 0.2}
    assert {"metadata", "image+metadata", "metadata+text", "image+metadata+text"} <= report.missing.keys()
    assert all(list(verdict.importance) == singles for verdict in report.verdicts if verdict.importance)
    assert set(report.metrics) < set(",".join(read_csv(report.run_path / "predictions.csv")[0]).split(","))
    assert note_of(report, "metadata is made").startswith(
        "metadata is made of material (categorical 5), price (number), since (date): "
    )
    assert note_of(report, "1 of 240") == "1 of 240 rows have no metadata: all these cells are empty."


@pytest.mark.parametrize("modalities", [("metadata",), ("metadata", "text")], ids=str)
def test_some_modalities_are_trained_as_they_are_asked_for(run, modalities):
    report = run(modalities=modalities)
    assert list(report.encoders) == list(modalities)
    assert set(modalities) <= report.metrics.keys()
    assert ("late" in report.metrics) == (len(modalities) > 1)


def vectors_of(problem):
    (encoders,) = problem.combinations
    return problem.joint_vectors(encoders, 0)


def test_metadata_that_tells_most_is_the_single_head_to_beat(run):
    report = run(fusions=("early",), max_epochs=10, learning_rate=1e-2, metadata_columns=("alias",), allow_leaks=True)
    assert report.verdicts[0].single == "metadata"
    assert report.metrics["metadata"]["accuracy"] == 1
    assert (
        report.verdicts[0].outcome == "undecided"
    )  # none of 48 rows differs, which is too few for a margin of 2 points


def test_cells_of_test_and_validation_rows_change_no_training(cache_path, tmp_path):
    with Cache(cache_path) as cache:
        problem = pose(cache, QUICK)
    _, columns = shop_columns()
    outside = np.concatenate([problem.folds[0].test, problem.folds[0].validation]).tolist()
    altered = {name: list(columns[name]) for name in COLUMNS}
    for row in outside:
        altered["material"][row], altered["price"][row], altered["since"][row] = "new", "1e9", "yesterday"
    with Cache(shop(tmp_path / "other.h5", altered=altered)) as cache:
        other = pose(cache, QUICK)
    assert np.array_equal(other.folds[0].train, problem.folds[0].train)
    assert vectors_of(other).specs["metadata"] == vectors_of(problem).specs["metadata"]
    rows = torch.from_numpy(problem.folds[0].train)
    found, expected = (vectors_of(one).inputs["metadata"] for one in (other, problem))
    assert torch.equal(found[rows], expected[rows])
    assert not torch.equal(found, expected)


def test_a_saved_head_answers_bit_for_bit_from_the_columns(trained, cache_path):
    with Cache(cache_path) as cache:
        problem = pose(cache, QUICK)
        for name, head in load_heads(trained.run_path).items():
            vectors = head.vectors_of(cache)
            for modality in head.description.dims:
                assert torch.equal(vectors.inputs[modality], vectors_of(problem).inputs[modality])
                assert torch.equal(vectors.present[modality], vectors_of(problem).present[modality])
            answers = head.probabilities(vectors)[problem.folds[0].test]
            written = [float(row[f"{name}_probability"]) for row in read_csv(trained.run_path / "predictions.csv")]
            np.testing.assert_allclose(answers.max(1), written, rtol=0, atol=1e-6)
    about = json.loads((trained.run_path / "early.json").read_text(encoding="utf-8"))
    assert about["specs"]["metadata"]["columns"][0]["categories"] == ["", "silk", "wool", "קטן", "👟 x"]


def test_a_catalogue_with_categories_that_were_never_seen_is_answered_and_told(trained, tmp_path):
    other = shop(tmp_path / "other.h5", altered={"material": ["velvet"] * N_PRODUCTS, "price": ["free"] * N_PRODUCTS})
    result = invoke(predict_command, other, "--run", trained.run_path, "-o", tmp_path / "answers.csv")
    assert result.exit_code == 0, result.output
    told = f"{N_PRODUCTS} of {N_PRODUCTS} cells of"
    assert f"{told} material are of no category that the training had (velvet): they say nothing" in result.stderr
    assert f"{told} price are no number (free): they say nothing" in result.stderr
    assert "cells of since" not in result.stderr
    rows = read_csv(tmp_path / "answers.csv")
    assert len(rows) == N_PRODUCTS
    assert all(row["metadata"] and row["early"] for row in rows)


def test_a_catalogue_without_a_column_is_a_named_error(trained, tmp_path):
    targets, columns = shop_columns()
    del columns["price"]
    other = synthetic_cache(
        tmp_path / "other.h5", {"image": class_vectors(targets, 8), "text": class_vectors(targets, 6)}, columns
    )
    result = invoke(predict_command, other, "--run", trained.run_path)
    assert result.exit_code == 1
    assert "needs the columns material, price, since, but" in result.stderr
    assert "has no price." in result.stderr
    only_image = invoke(predict_command, other, "--run", trained.run_path, "--head", "image")
    assert only_image.exit_code == 0, only_image.output


def test_a_product_without_metadata_gets_no_answer_from_it(trained, cache_path, tmp_path):
    invoke(predict_command, cache_path, "--run", trained.run_path, "-o", tmp_path / "answers.csv")
    rows = read_csv(tmp_path / "answers.csv")
    assert [n for n, row in enumerate(rows) if not row["metadata"]] == [7]
    assert rows[7]["early"]


def test_a_product_with_metadata_alone_is_trained_on(tmp_path):
    there = np.arange(N_PRODUCTS) >= 30
    path = shop(tmp_path / "c.h5", present={"image": there, "text": there})
    with Cache(path) as cache:
        problem = pose(cache, QUICK)
    assert (problem.labels.targets >= 0).sum() == N_PRODUCTS - 1  # product 7 has no metadata either
    report = train(path, settings=replace(QUICK, fusions=("early",)), runs_path=tmp_path / "runs")
    assert sum(report.n_rows.values()) == N_PRODUCTS - 1


def test_a_product_without_metadata_has_zeros(cache_path):
    with Cache(cache_path) as cache:
        vectors = vectors_of(pose(cache, QUICK))
    assert (~vectors.present["metadata"]).nonzero()[:, 0].tolist() == [7]
    assert not vectors.inputs["metadata"][7].any()


def test_a_column_that_gives_the_label_away_is_refused_by_its_name(run):
    with pytest.raises(HeadError, match=r"but alias gives label away.*add --allow-leaks"):
        run(metadata_columns=("material", "alias"))
    with pytest.raises(HeadError, match="but label gives label away"):
        run(metadata_columns=("label",))
    with pytest.raises(HeadError, match="but label gives label away"):
        run(metadata_counts=("label",))


def test_a_leak_that_is_allowed_is_told(run):
    report = run(metadata_columns=("alias",), allow_leaks=True, modalities=("metadata",))
    assert note_of(report, "metadata has alias") == (
        "metadata has alias: whoever knows it knows label. Is it known of products whose label is not?"
    )


def test_a_parent_of_the_label_is_used_with_a_note_when_it_is_named(run):
    report = run(metadata_columns=("material", "group"), modalities=("metadata",))
    assert note_of(report, "metadata has group") == (
        "metadata has group: whoever knows label knows it, as a coarser name for the answer. Is it known of products "
        "whose label is not?"
    )


def test_auto_says_what_it_leaves_out_and_why(run):
    report = run(metadata_columns=("auto",), modalities=("metadata",))
    about = [note for note in report.notes if note.startswith("metadata")]
    assert about == [
        "metadata leaves out label: the label itself.",
        "metadata leaves out title, number: every value is another, as an id's or a file's.",
        "metadata leaves out alias: whoever knows it knows label.",
        "metadata leaves out group: whoever knows label knows it, as a coarser name for the answer.",
        "metadata leaves out empty: no training row has a value.",
        about[-1],
    ]
    used = "material (categorical 5), price (number), since (date), image (categorical 2), metadata (categorical 2), "
    assert about[-1].startswith(f"metadata is made of {used}text (boolean 3): ")


def test_auto_leaves_out_the_column_that_splits(tmp_path):
    sides = [("train", "validation", "test", "train")[n % 4] for n in range(N_PRODUCTS)]
    settings = replace(
        QUICK, metadata_columns=("auto",), split_column="side", modalities=("metadata",), fusions=FITTING
    )
    with Cache(shop(tmp_path / "c.h5", altered={"side": sides})) as cache:
        notes = pose(cache, settings).notes
        unnamed = pose(cache, replace(settings, split_column=None)).notes
    for told in (notes, unnamed):
        assert "metadata leaves out side: it says which rows are for training." in told


def test_auto_that_finds_nothing_says_why(tmp_path):
    targets, columns = shop_columns()
    columns = {name: columns[name] for name in ("label", "empty", "alias")}
    path = synthetic_cache(tmp_path / "c.h5", {"image": class_vectors(targets, 8)}, columns)
    with (
        Cache(path) as cache,
        pytest.raises(HeadError, match="auto to find a column, but: .*alias: whoever knows"),
    ):
        pose(cache, replace(QUICK, metadata_columns=("auto",)))


def test_counts_of_a_text_are_metadata(run):
    report = run(metadata_columns=None, metadata_counts=("title",), modalities=("metadata",))
    assert note_of(report, "metadata is made") == "metadata is made of title (counts): 1 dimension."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metadata_columns": ("colour",)},
            r"--metadata-columns: expected some of the .*\(label, material, .*'colour'",
        ),
        ({"metadata_counts": ("colour",)}, r"--metadata-counts: expected some of the .*'colour'"),
        (
            {"metadata_columns": ("price", "material", "price")},
            "to name each column once, but price is there twice",
        ),
        ({"modalities": ("image", "text")}, "but --modalities is image,text. Add metadata"),
        ({"metadata_columns": None, "modalities": ("metadata",)}, "but none is named. Add --metadata-columns auto"),
        ({"metadata_columns": ("price", "empty")}, "but empty does not: no training row has a value. Leave it out"),
        ({"encoders": {"metadata": "columns"}}, "--encoder: expected one of the modalities image, text, got"),
    ],
    ids=str,
)
def test_what_cannot_be_metadata_is_a_named_error(run, changes, message):
    with pytest.raises((SettingError, HeadError), match=message):
        run(**changes)


def test_metadata_of_columns_is_not_mixed_with_vectors_of_that_name(tmp_path):
    targets, columns = shop_columns()
    path = synthetic_cache(tmp_path / "c.h5", {"metadata": class_vectors(targets, 8)}, columns)
    with Cache(path) as cache, pytest.raises(SettingError, match="has vectors of that name"):
        pose(cache, QUICK)
    with Cache(path) as cache:  # these are a modality as before
        assert list(pose(cache, replace(QUICK, metadata_columns=None, fusions=FITTING)).encoders) == ["metadata"]


def test_metadata_may_stay_in_memory_where_vectors_stay_on_the_disk(run, monkeypatch):
    for module in ("sampler", "batch_loader", "stack_planner"):
        monkeypatch.setattr(f"heads.training.{module}.WINDOW_ROWS", 32)
    fusions = ("early", "gated", "late")
    in_memory, from_disk = (run(fusions=fusions, max_epochs=2, memory=memory) for memory in ("1M", "8K"))
    for name, scored in in_memory.metrics.items():
        assert from_disk.metrics[name]["log_loss"] == pytest.approx(scored["log_loss"], abs=1e-6)


ABLATION = AblationSettings(
    fusions=("early", "late"),
    grid={"hidden_dim": (16,), "max_epochs": (1,)},
    n_folds=2,
    n_resamples=100,
    precision="fp32",
    metadata_columns=COLUMNS,
)


@pytest.mark.parametrize("fold", [0, 1])
def test_each_fold_of_an_ablation_has_metadata_of_its_own_training_rows(cache_path, tmp_path, fold):
    with Cache(cache_path) as cache:
        problem = pose(cache, ABLATION)
    own = problem.encoder_vectors(("metadata", "columns"), fold)
    assert own.specs != problem.encoder_vectors(("metadata", "columns"), 1 - fold).specs
    _, columns = shop_columns()
    altered = {name: list(columns[name]) for name in COLUMNS}
    split = problem.folds[fold]
    for row in [*split.validation.tolist(), *split.test[::2].tolist()]:  # the others train the other fold
        altered["material"][row], altered["price"][row] = "new", "1e9"
    with Cache(shop(tmp_path / "other.h5", altered=altered)) as cache:
        other = pose(cache, ABLATION).encoder_vectors(("metadata", "columns"), fold)
    assert other.specs == own.specs
    rows = torch.from_numpy(split.train)
    assert torch.equal(other.inputs["metadata"][rows], own.inputs["metadata"][rows])


def test_an_ablation_compares_metadata_beside_the_others(cache_path, tmp_path):
    report = ablate(cache_path, settings=replace(ABLATION, weights="0.3,0.5,0.2"), runs_path=tmp_path / "runs")
    assert report.encoders == {"image": ["synthetic"], "metadata": ["columns"], "text": ["synthetic"]}
    jobs = read_csv(report.run_path / "jobs.csv")
    assert {row["head"] for row in jobs} == {"image", "metadata", "text", "early", "late"}
    assert {row["metadata_encoder"] for row in jobs if row["head"] == "early"} == {"columns"}
    assert not any(row["error"] for row in jobs)
    about = json.loads((report.run_path / "ablation.json").read_text(encoding="utf-8"))
    assert [len(own.split(", ")) for own in about["encoders"].values()] == [1, 2, 1]  # metadata is fitted in each fold
    assert about["late_weights"] == {"image": 0.3, "metadata": 0.5, "text": 0.2}


def test_an_ablation_answers_as_a_training_does(trained, cache_path, tmp_path):
    """One fold of an ablation and a training split alike: the same scores."""
    report = ablate(cache_path, settings=replace(ABLATION, n_folds=1), runs_path=tmp_path / "runs")
    found = {row["head"]: float(row["test_log_loss"]) for row in read_csv(report.run_path / "jobs.csv")}
    assert found.keys() == {"image", "metadata", "text", "early", "late"}
    for name, loss in found.items():
        assert loss == pytest.approx(trained.metrics[name]["log_loss"], abs=1e-5)


def again_trained(cache_path, tmp_path, **changes):
    """Return the heads that the same ablation trains again after some changes, {(head, fold)}."""
    report = ablate(cache_path, settings=replace(ABLATION, **changes), runs_path=tmp_path / "runs")
    rows = read_csv(report.run_path / "jobs.csv")
    return {(row["head"], row["fold"]) for row in rows if row["source"] == "trained"}


@pytest.fixture(scope="module")
def remembered(cache_path, tmp_path_factory):
    """A folder in which the ablation was done, and the heads that it trained."""
    folder = tmp_path_factory.mktemp("remembered")
    return folder, again_trained(cache_path, folder)


@pytest.fixture
def done_before(remembered, tmp_path):
    """Let the ablation have been done in this test's folder."""
    shutil.copytree(remembered[0] / "runs", tmp_path / "runs")


WITH_METADATA = {(head, fold) for head in ("metadata", "early", "late") for fold in "01"}


def test_a_repeated_ablation_remembers_metadata(cache_path, tmp_path, remembered, done_before):
    assert remembered[1] == WITH_METADATA | {(head, fold) for head in ("image", "text") for fold in "01"}
    assert again_trained(cache_path, tmp_path) == set()
    assert again_trained(cache_path, tmp_path, metadata_columns=("since", "price", "material")) == set()


@pytest.mark.parametrize(
    "changes",
    [{"metadata_columns": ("price",)}, {"metadata_counts": ("title",)}, {"metadata_columns": ("auto",)}],
    ids=str,
)
def test_other_columns_are_trained_again_and_the_vectors_are_not(cache_path, tmp_path, done_before, changes):
    assert again_trained(cache_path, tmp_path, **changes) == WITH_METADATA


def test_a_cell_that_changed_is_trained_again(tmp_path, done_before):
    prices = shop_columns()[1]["price"]
    prices[3] = "11.5"
    assert again_trained(shop(tmp_path / "other.h5", altered={"price": prices}), tmp_path) == WITH_METADATA


def test_another_version_of_the_encoding_is_trained_again(cache_path, tmp_path, done_before, monkeypatch):
    monkeypatch.setattr("heads.data.metadata.fitted_metadata.VERSION", 10**6)
    assert again_trained(cache_path, tmp_path) == WITH_METADATA


def test_a_leak_in_one_fold_alone_is_refused(cache_path):
    with Cache(cache_path) as cache, pytest.raises(HeadError, match="alias gives label away"):
        pose(cache, replace(ABLATION, metadata_columns=("alias",)))


def test_both_commands_take_columns(cache_path, tmp_path):
    options = (
        "--metadata-columns",
        "material, price",
        "--metadata-counts",
        "title",
        "--runs",
        tmp_path / "runs",
        "--no-report",
        "--json",
    )
    short = ("--fusion", "metadata,early", "--modalities", "image,metadata", "--max-epochs", 1, "--resamples", 100)
    trained = invoke(train_command, cache_path, *options, *short)
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["encoders"] == {"image": "synthetic", "metadata": "columns"}
    compared = invoke(ablate_command, cache_path, *options, *short[2:], "--fusion", "early", "--folds", 2)
    assert compared.exit_code == 0, compared.output
    assert json.loads(compared.stdout)["encoders"] == {"image": ["synthetic"], "metadata": ["columns"]}
    refused = invoke(train_command, cache_path, "--metadata-columns", "alias", *options[4:])
    assert refused.exit_code == 1
    assert "alias gives label away" in refused.stderr
    leaking = ("--metadata-columns", "alias", "--allow-leaks", *options[4:-1])
    allowed = invoke(train_command, cache_path, *leaking, *short)
    assert allowed.exit_code == 0, allowed.output
    assert "image: synthetic  metadata: columns" in allowed.stdout


@pytest.mark.parametrize("columns", [("auto",), ("title",), ("material", "title")])
def test_counts_that_give_the_label_away_are_refused_whatever_columns_are_there(tmp_path, columns):
    targets, _ = shop_columns()
    titles = [" ".join(["word"] * (1 + code) + [f"{n}"]) for n, code in enumerate(targets)]
    path = shop(tmp_path / "c.h5", altered={"title": [title.replace("word", "w" * 5) for title in titles]})
    settings = replace(QUICK, metadata_columns=columns, metadata_counts=("title",), fusions=("early",))
    with pytest.raises(HeadError, match="--metadata-counts to leave the answer open, but title"):
        train(path, settings=settings, runs_path=tmp_path / "runs")


def test_a_column_whose_counts_alone_are_used_may_give_the_label_away_in_words(tmp_path):
    targets, _ = shop_columns()
    path = shop(tmp_path / "c.h5", altered={"title": [f"shoe{code}" for code in targets]})
    settings = replace(QUICK, metadata_columns=("price",), metadata_counts=("title",), fusions=("early",))
    with pytest.raises(HeadError, match="to name columns that say something, but title does not"):
        train(path, settings=settings, runs_path=tmp_path / "runs")  # all counts are the same
    path = shop(
        tmp_path / "d.h5", altered={"title": [f"shoe{code}" + " new" * (n % 3) for n, code in enumerate(targets)]}
    )
    report = train(path, settings=settings, runs_path=tmp_path / "runs")
    assert "title (counts)" in note_of(report, "metadata is made of")


@pytest.mark.parametrize(("columns", "cells"), [(("price",), ""), (("auto",), "n/a")])
def test_products_of_which_nothing_is_known_are_left_out(tmp_path, columns, cells):
    """Whether their columns are named or found: an id that `auto` leaves out is no knowledge."""
    there = np.arange(N_PRODUCTS) >= 60
    _, shown = shop_columns()
    altered = {name: [cells if n < 60 else own for n, own in enumerate(shown[name])] for name in ("price",)}
    altered |= {name: [""] * 60 + shown[name][60:] for name in ("material", "since", "image", "metadata", "text")}
    path = shop(tmp_path / "c.h5", present={"image": there, "text": there}, altered=altered)
    settings = replace(QUICK, metadata_columns=columns, fusions=("early",))
    report = train(path, settings=settings, runs_path=tmp_path / "runs")
    assert sum(report.n_rows.values()) == N_PRODUCTS - 60
    assert any("left out" in note for note in report.notes)
    with Cache(path) as cache:
        of_folds = pose(cache, replace(ABLATION, metadata_columns=columns))
    assert len(of_folds.test_rows) == N_PRODUCTS - 60


def test_attention_looks_at_tokens_beside_metadata(tmp_path):
    generator = np.random.default_rng(0)
    tokens = {"image": [generator.standard_normal((2, 5)) for _ in range(N_PRODUCTS)]}
    path = shop(tmp_path / "c.h5", tokens=tokens)
    with Cache(path) as cache:
        problem = pose(cache, replace(QUICK, modalities=("image", "metadata"), fusions=("attention",)))
    assert list(vectors_of(problem).tokens) == ["image"]


def test_a_list_of_columns_of_several_lines_is_a_named_error(cache_path):
    result = invoke(train_command, cache_path, "--metadata-columns", "x\ny")
    assert result.exit_code == 1
    assert "a list of names to be one line" in result.stderr
