"""Copies, whatever their bytes, and rows of one product stand on one side; what says nothing joins no rows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support import class_vectors, invoke, synthetic_cache

from cache import Cache, ContentSpec
from heads.ablation.ablation_settings import AblationSettings
from heads.commands.ablate_output import show_report as show_ablation
from heads.commands.train import train as train_command
from heads.commands.train_output import show_report as show_training
from heads.data.splitting.duplicate_contents import first_duplicates, first_near_duplicates
from heads.data.splitting.groups import find_placeholders
from heads.data.splitting.holdout import draw_holdout
from heads.errors import LabelError, SettingError, SplitError
from heads.experiment.problem import pose
from heads.reports.report_settings import ReportSettings
from heads.settings import TrainSettings
from heads.workflows.ablate import ablate
from heads.workflows.train import train

pytestmark = pytest.mark.usefixtures("undrawn")

N = 240
QUICK = TrainSettings(fusions=("text",), hidden_dim=16, max_epochs=2, n_resamples=100, controls=(), precision="fp32")


def cache_of(path, vectors, *, labels=None, columns=None, **options):
    labels = [f"class {n % 3}" for n in range(len(vectors))] if labels is None else labels
    synthetic_cache(path, {"text": vectors}, {"label": labels, **(columns or {})}, **options)
    return path


def ablation_of(settings):
    shared = ("fusions", "n_resamples", "precision")
    return AblationSettings(
        n_folds=2, grid={"max_epochs": (2,), "hidden_dim": (16,)}, **{name: getattr(settings, name) for name in shared}
    )


def alike(path, cosine=None):
    with Cache(path) as cache:
        firsts = first_duplicates(cache, "text", ["synthetic"])
        if cosine is not None:
            firsts = first_near_duplicates(cache, "text", ["synthetic"], cosine=cosine, firsts=firsts)
        return firsts.tolist()


def noise(n_rows=N, dim=24, seed=0):
    return np.random.default_rng(seed).standard_normal((n_rows, dim)).astype(np.float32)


def test_vectors_equal_within_rounding_are_alike_and_others_are_not(tmp_path):
    vectors = noise()
    vectors[7] = vectors[3] * (1 + 1e-6)
    vectors[9] = vectors[7] + 1e-6
    vectors[20] = vectors[3] + 0.05  # another thing, if a near one
    expected = list(range(N))
    expected[7] = expected[9] = 3
    assert alike(cache_of(tmp_path / "c.h5", vectors)) == expected


def test_any_number_of_equal_vectors_is_one_thing(tmp_path):
    vectors = noise(3000)
    vectors[1000:] = vectors[1000]
    assert alike(cache_of(tmp_path / "c.h5", vectors)) == [*range(1001), *[1000] * 1999]


def test_a_cosine_finds_what_a_plain_product_of_all_vectors_finds(tmp_path):
    vectors = class_vectors(np.arange(N) % 60, 24, spread=0.02)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T >= 0.999
    expected = [int(np.flatnonzero(row)[0]) for row in np.linalg.matrix_power(near.astype(np.int64), 3) > 0]
    path = cache_of(tmp_path / "c.h5", vectors)
    assert alike(path, cosine=0.999) == expected
    assert len(set(expected)) < N
    assert alike(path) == list(range(N))


def test_a_content_without_a_vector_is_like_none(tmp_path):
    present = np.arange(N) % 2 == 0
    assert len(alike(cache_of(tmp_path / "c.h5", noise(), present={"text": present}))) == present.sum()


def sides_of(path, settings):
    """Return the problem, and for each fold the side of each row, "" where it has none."""
    with Cache(path) as cache:
        problem = pose(cache, settings)
    sides = []
    for fold in problem.folds:
        of_rows = np.full(len(problem.labels.targets), "", dtype="U10")
        for side, rows in vars(fold).items():
            of_rows[rows] = side
        sides.append(of_rows)
    return problem, sides


def twins(seed=0):
    """Return N vectors of noise of which each stands twice, but for the last digits; and labels drawn for each two."""
    vectors = np.repeat(noise(N // 2, seed=seed), 2, axis=0)
    vectors[1::2] *= 1 + 1e-6
    labels = np.repeat(np.random.default_rng(seed).integers(2, size=N // 2), 2)
    return vectors, [f"{one}" for one in labels]


@pytest.mark.parametrize("settings", [QUICK, AblationSettings(n_folds=3, fusions=())])
def test_equal_vectors_of_different_bytes_stand_on_one_side(tmp_path, settings):
    vectors, labels = twins()
    problem, folds = sides_of(cache_of(tmp_path / "c.h5", vectors, labels=labels), settings)
    for sides in folds:
        assert (sides[::2] == sides[1::2]).all()
    assert f"{N} rows have the same text as others though its bytes differ (equal vectors" in " ".join(problem.notes)


@pytest.mark.parametrize("settings", [QUICK, AblationSettings(n_folds=3, fusions=())])
def test_rows_of_one_cell_of_the_group_column_stand_on_one_side(tmp_path, settings):
    """A row without a cell is a group of its own."""
    products = [f"{n // 4}" if n < 200 else " " for n in range(N)]
    path = cache_of(tmp_path / "c.h5", noise(), columns={"product": products})
    _, folds = sides_of(path, replace(settings, group_column="product"))
    for sides in folds:
        of_products = sides[:200].reshape(-1, 4)
        assert (of_products == of_products[:, :1]).all()
        assert len(set(sides[200:])) > 1
    _, folds = sides_of(path, settings)
    assert any((sides[:200].reshape(-1, 4) != sides[:200:4][:, None]).any() for sides in folds)


def test_random_labels_of_nearly_equal_rows_are_chance_where_a_column_says_which_belong_together(tmp_path):
    """60 products of four noisy pictures each and a label drawn for each: neighbours answered 92 % right."""
    generator = np.random.default_rng(1)
    products = np.repeat(np.arange(400), 4)
    vectors = noise(400)[products] + 0.1 * generator.standard_normal((1600, 24)).astype(np.float32)
    labels = [f"{one}" for one in generator.integers(2, size=400)[products]]
    columns = {"product": [f"{one}" for one in products]}
    path = cache_of(tmp_path / "c.h5", vectors, labels=labels, columns=columns)
    settings = replace(QUICK, controls=("neighbours",))
    apart = train(path, settings=settings, runs_path=tmp_path / "runs").controls["neighbours"]["accuracy"]
    together = train(path, settings=replace(settings, group_column="product"), runs_path=tmp_path / "runs")
    assert apart > 0.9
    assert 0.35 < together.controls["neighbours"]["accuracy"] < 0.65


def test_a_group_column_that_is_not_there_lists_those_that_are(tmp_path):
    path = cache_of(tmp_path / "c.h5", noise())
    result = invoke(train_command, path, "--group-column", "product")
    assert result.exit_code == 1
    assert "--group-column: expected one of the catalogue's columns (label), got 'product'." in result.stderr
    with Cache(path) as cache, pytest.raises(LabelError):
        pose(cache, TrainSettings(group_column="product"))


@pytest.mark.parametrize("cosine", [0, -0.5, 1.5])
def test_a_cosine_is_one(cosine):
    with pytest.raises(SettingError, match="--near-duplicates: expected a cosine"):
        TrainSettings(near_duplicates=cosine)


def test_what_stands_under_many_rows_of_many_labels_is_a_placeholder():
    """Of 200 rows of four even classes: 60 of all classes; 60 of one; 20 of all, too few; 30, three fourths of one."""
    targets = np.arange(200) % 4
    ids = np.full(200, -1)
    ids[:60] = 0
    of_one = np.flatnonzero((targets == 1) & (ids < 0))[:35]
    ids[of_one] = 1
    few = np.flatnonzero(ids < 0)[:20]
    ids[few] = 2
    mostly = np.concatenate(
        [np.flatnonzero((ids < 0) & (targets == 2))[:22], np.flatnonzero((ids < 0) & (targets == 3))[:7]]
    )
    ids[mostly] = 3
    assert find_placeholders(ids, targets) == [0]


def test_a_placeholder_joins_no_rows_is_named_and_scored_apart(tmp_path, capsys):
    """A title of "nan" on 42 % of rows made one group of them, which trained, and the rest was scored without."""
    is_nan = np.random.default_rng(2).random(N) < 0.42
    targets = np.arange(N) % 3
    vectors = class_vectors(targets, 24, spread=0.1)
    vectors[is_nan] = 1
    titles = ["nan" if blank else f"thing {n}" for n, blank in enumerate(is_nan)]
    made_of = {"text": ContentSpec("text", {"columns": ["title"]})}
    path = cache_of(tmp_path / "c.h5", vectors, columns={"title": titles}, contents={"text": titles}, made_of=made_of)
    problem, (sides,) = sides_of(path, QUICK)
    assert {side for side, blank in zip(sides, is_nan, strict=True) if blank} == {"train", "validation", "test"}
    assert problem.is_placeholder.tolist() == is_nan.tolist()
    (note,) = [note for note in problem.notes if "placeholder" in note]
    assert note.startswith(f"one text (nan) stands under {is_nan.sum()} rows (")
    settings = replace(QUICK, max_epochs=20)
    report = train(path, settings=settings, runs_path=tmp_path / "runs", report=ReportSettings())
    apart = json.loads((report.run_path / "metrics.json").read_text())["heads"]["text"]["apart"]
    assert apart["with a placeholder"]["n_rows"] + apart["without"]["n_rows"] == report.n_rows["test"]
    assert apart["without"]["accuracy"] > apart["with a placeholder"]["accuracy"]
    shown = [f"{100 * own['accuracy']:.1f}/{100 * own['macro_f1']:.1f}" for own in apart.values()]
    show_training(report, details=True, missing=False)
    printed = capsys.readouterr().out
    header = [f"{part} ({own['n_rows']})" for part, own in apart.items()]
    assert "  ".join(header) in printed
    assert ["text", *shown] in [line.split() for line in printed.splitlines()]
    page = report.report_path.read_text()
    assert f"<th>{header[0]}</th><th>{header[1]}</th>" in page
    assert note[:40] in page
    show_training(report, details=False, missing=False)
    assert "with a placeholder" not in capsys.readouterr().out  # the note has told it
    of_all = ablate(path, settings=ablation_of(settings), runs_path=tmp_path / "runs")
    (row,) = of_all.ranking.rows
    assert sum(one["n_rows"] for one in row.apart.values()) == N  # each tested once
    weighted = sum(one["n_rows"] * one["accuracy"] for one in row.apart.values())
    assert weighted == pytest.approx(N * row.accuracy.mean)
    show_ablation(of_all, details=True, top=None)
    printed = capsys.readouterr().out
    assert f"with a placeholder ({is_nan.sum()})  without ({N - is_nan.sum()})" in printed
    assert f"<th>with a placeholder ({is_nan.sum()})</th>" in (of_all.run_path / "report.html").read_text()
    assert "accuracy_with_a_placeholder" in (of_all.run_path / "ranking.csv").read_text()


def test_a_column_of_products_is_named_where_its_rows_are_no_copies(tmp_path):
    """The handle's rows have vectors of their own; once it is given, or its rows are copies, nothing is said."""
    handles = [f"h{n // 12}-{n % 3}" for n in range(N)]  # four rows, of one label
    path = cache_of(tmp_path / "c.h5", noise(), columns={"handle": handles, "colour": [f"{n % 7}" for n in range(N)]})

    def notes(path, **changes):
        with Cache(path) as cache:
            return [note for note in pose(cache, replace(QUICK, **changes)).notes if "--group-column" in note]

    assert notes(path) == [
        "handle: 60 values over 240 rows, each of one label: products of one handle are alike, yet can stand on both "
        "sides of the split; --group-column handle keeps them together."
    ]
    assert notes(path, group_column="handle") == []
    copies = cache_of(tmp_path / "d.h5", noise(), columns={"handle": handles}, contents={"text": handles})
    assert notes(copies) == []


def test_words_for_nothing_in_a_group_column_join_no_rows(tmp_path):
    cells = ["NaN" if n % 4 else f"h{n // 16}" for n in range(N)]
    path = cache_of(tmp_path / "c.h5", noise(), columns={"handle": cells})
    problem, _ = sides_of(path, replace(QUICK, group_column="handle"))
    assert np.bincount(problem.groups).max() == 4


def test_copies_of_one_label_are_no_placeholder(tmp_path):
    titles = [f"thing {n}" if n % 3 else "the same" for n in range(N)]  # all of class 0
    path = cache_of(tmp_path / "c.h5", noise(), contents={"text": titles})
    problem, _ = sides_of(path, QUICK)
    assert not problem.is_placeholder.any()
    assert len(set(problem.groups[::3])) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_holdout_takes_whole_groups_and_some_of_each_class(seed):
    groups = np.random.default_rng(seed).integers(40, size=200)
    targets = groups % 4
    split = draw_holdout(targets, np.full(4, 0.2), generator=np.random.default_rng(seed), groups=groups)
    assert not set(groups[split.train]) & set(groups[split.validation])
    assert set(targets[split.train]) == set(targets[split.validation]) == set(range(4))
    assert 0.1 < len(split.validation) / 200 < 0.3


def test_a_holdout_without_groups_is_the_one_of_rows_that_are_groups_of_their_own():
    targets = np.arange(100) % 3
    plain, grouped = (
        draw_holdout(targets, np.full(3, 0.15), generator=np.random.default_rng(0), groups=groups)
        for groups in (None, np.arange(100))
    )
    assert plain.validation.tolist() == grouped.validation.tolist()


def test_titles_that_differ_in_letter_case_and_entities_are_copies(tmp_path):
    """An encoder may make something else of ``&amp;`` than of ``&``, a reader does not."""
    titles = [f"Men's bag & hat {n // 2}" if n % 2 else f"MEN&#39;S  BAG &amp; hat {n // 2}" for n in range(N)]
    made_of = {"text": ContentSpec("text", {"columns": ["title"]})}
    path = cache_of(tmp_path / "c.h5", noise(), columns={"title": titles}, contents={"text": titles}, made_of=made_of)
    problem, _ = sides_of(path, QUICK)
    assert (problem.groups[::2] == problem.groups[1::2]).all()
    assert len(set(problem.groups)) == N // 2


def test_a_cosine_that_joins_all_leaves_nothing_to_test_on(tmp_path):
    """It makes no placeholder of them, which would join none."""
    vectors = 1 + 0.01 * noise()
    path = cache_of(tmp_path / "c.h5", vectors)
    with Cache(path) as cache, pytest.raises(SplitError, match="stay together"):
        pose(cache, replace(QUICK, near_duplicates=0.9))


def test_what_an_encoder_does_not_tell_apart_is_no_copy_and_its_copies_still_are(tmp_path):
    """All texts have one vector, and every text stands twice."""
    titles = [f"thing {n // 2}" for n in range(N)]
    path = cache_of(tmp_path / "c.h5", np.ones((N, 4), dtype=np.float32), contents={"text": titles})
    problem, (sides,) = sides_of(path, QUICK)
    assert (sides[::2] == sides[1::2]).all()
    assert len(set(problem.groups)) == N // 2
