"""The report of a run, opened in a browser: it shows what was found, and runs nothing of what products say."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import opened, words
from support import class_vectors, image_bytes, invoke, synthetic_cache

import heads.reports.example_products
import heads.reports.train_page
from cache import Cache
from heads.commands.train import train as command
from heads.errors import SettingError
from heads.experiment.findings.best_heads import Choice, choose_heads
from heads.experiment.findings.predictions import Predictions
from heads.reports.example_products import choose_mistakes, choose_samples
from heads.reports.report_settings import ReportColumns, ReportSettings, choose_columns
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = pytest.mark.slow
undrawn_here = pytest.mark.usefixtures("undrawn_here")

QUICK = TrainSettings(fusions=("early", "late"), hidden_dim=16, max_epochs=3, n_resamples=100, min_rows=1)
HOSTILE = "<script>document.title = 'run'</script><img src='https://example.org/x.png' onerror='alert(1)'>"
TITLES = (HOSTILE, "=1+1", "חולצה כחולה", "a dress \N{DRESS}", "caf\udce9", "long " * 100, "")
LONG_CLASS = "a class of many words " * 9  # 198 characters


def shop(path, *, n_products=150, n_classes=3, modalities=("image", "text"), spread=1.5, columns=None):
    """Seal a cache of products with hostile titles; every other one's picture is not there."""
    targets = np.arange(n_products) % n_classes
    vectors = {name: class_vectors(targets, 8, spread=spread, seed=n) for n, name in enumerate(modalities)}
    names = [f"class {n}" for n in range(n_classes)]
    names[0], names[1] = LONG_CLASS, f"<b>{HOSTILE}"
    (path.parent / "images").mkdir(parents=True, exist_ok=True)
    for n in range(0, n_products, 2):
        (path.parent / "images" / f"{n}.png").write_bytes(image_bytes((n % 255, 90, 90)))
    cells = {
        "label": [names[code] for code in targets],
        "image": [f"images/{n}.png" for n in range(n_products)],
        "title": [TITLES[n % len(TITLES)] for n in range(n_products)],
    }
    return synthetic_cache(path, vectors, {**cells, **(columns or {})})


def run(folder, *, settings=QUICK, report=None, **options):
    """Train on a shop, and return the run."""
    path = shop(folder / "shop" / "c.h5", **options)
    return train(path, settings=settings, runs_path=folder / "runs", report=report or ReportSettings())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run(tmp_path_factory.mktemp("report"))


def texts(page, selector):
    return page.locator(selector).all_inner_texts()


def is_narrow(page):
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_page_says_the_verdict_on_the_best_fusion_first(found):
    chosen = choose_heads(found.metrics, ["image", "text"])
    verdict = next(verdict for verdict in found.verdicts if verdict.fusion == chosen.fusion)
    with opened(found.report_path) as page:
        assert page.locator("h1").inner_text() == f"{verdict.words}."
        assert verdict.numbers in page.locator("h1 + p").inner_text()
        assert page.title() == f"{found.run_path.name}: label"
        assert [" ".join(text.split()) for text in texts(page, "#fusions + ul > li")] == [
            " ".join([one.sentence, *(one.warnings if one.fusion != chosen.fusion else [])]) for one in found.verdicts
        ]


def test_the_table_of_heads_shows_the_metrics_and_sorts(found):
    with opened(found.report_path) as page:
        table = page.locator("#heads ~ .wide table").first
        rows = {row.split("\t")[0]: row.split("\t")[1:] for row in table.locator("tbody tr").all_inner_texts()}
        assert list(rows) == [*found.metrics, "(majority)", "(centroids)"]
        for name, own in found.metrics.items():
            assert rows[name][0] == f"{100 * own['accuracy']:.1f}"
            assert rows[name][3] == "–".join(f"{100 * value:.1f}" for value in own["macro_f1_interval"])
            assert rows[name][5:7] == [f"{own['log_loss']:.3f}", f"{own['calibration_error']:.3f}"]
        table.get_by_role("button", name="log loss").click()
        losses = [float(cell) for cell in table.locator("tbody td:nth-child(7)").all_inner_texts()]
        assert losses == sorted(losses)
        assert table.locator("tbody td").first.inner_text() != "image"


def test_every_section_that_is_linked_is_there_with_its_plots(found):
    with opened(found.report_path) as page:
        links = [link.get_attribute("href") for link in page.locator("nav a").all()]
        assert len(links) == 12
        assert all(page.locator(link).count() == 1 for link in links)
        labels = [drawn.get_attribute("aria-label") for drawn in page.locator("svg").all()]
        histories = [name for name, own in found.metrics.items() if own["history"]]
        assert [label for label in labels if label.startswith("Training")] == [
            f"Training of {name}" for name in histories
        ]
        assert sum(label.startswith("Calibration") for label in labels) == len(found.metrics)
        assert len(labels) == len(histories) + len(found.metrics) + 4  # scores, weights, missing, importance


def test_titles_and_classes_are_shown_as_written_and_run_nothing(found):
    with opened(found.report_path) as page:
        shown = texts(page, ".cards .title")
        assert HOSTILE in shown
        assert "=1+1" in shown
        assert any(title.endswith("…") and len(title) <= 160 for title in shown)
        assert r"caf\xe9" in shown
        assert f"<b>{HOSTILE}" in texts(page, ".cards .truth b")
        assert page.locator("script").count() == 1
        assert page.locator("img:not([src^='data:image/jpeg;base64,'])").count() == 0


def test_cards_show_pictures_where_there_are_any_and_each_heads_answer(found):
    with opened(found.report_path) as page:
        cards = page.locator(".cards").first.locator("> li")
        assert cards.count() == 12
        for card in cards.all():
            product = int(card.locator("p.quiet, p.title").last.inner_text())
            assert card.locator("img").count() == (product % 2 == 0)
            assert card.locator(".blank").count() == (product % 2 == 1)
            assert card.locator("dt").all_inner_texts() == list(found.metrics)
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_no_wider_than_a_phone(found, dark):
    with opened(found.report_path, width=360, dark=dark) as page:
        assert is_narrow(page)


def test_a_hundred_classes_show_the_most_confused_and_say_what_is_left_out(tmp_path):
    made = run(tmp_path, n_products=500, n_classes=100, spread=8.0, settings=replace(QUICK, fusions=("late",)))
    with opened(made.report_path, width=360) as page:
        assert is_narrow(page)
        assert page.locator("table.confusions tbody tr").count() == 20
        assert re.search(r"shows the 20 of 100 classes", page.locator("#confusions + p").inner_text())
        classes = page.locator("#classes ~ .tall table").first
        assert classes.locator("tbody tr").count() == 100
        classes.get_by_role("button", name="rows").click()
        supports = [int(cell) for cell in classes.locator("tbody td:nth-child(2)").all_inner_texts()]
        assert supports == sorted(supports)
    assert made.report_path.stat().st_size < 1_500_000


@undrawn_here
def test_two_classes_without_a_mistake_are_reported(tmp_path):
    made = run(tmp_path, n_classes=2, spread=0.01, settings=replace(QUICK, fusions=("early",), max_epochs=10))
    with opened(made.report_path) as page:
        assert "has every test row right" in page.locator("#confusions + p").inner_text()
        assert page.locator(".cards").count() == 1
        assert page.locator("#weights").count() == 0


def test_one_modality_has_no_verdict_and_no_fusion(tmp_path):
    made = run(tmp_path, modalities=("text",), settings=replace(QUICK, fusions=TrainSettings().fusions))
    with opened(made.report_path, width=360) as page:
        assert page.locator("h1").inner_text().startswith("text alone has ")
        assert "There is no second modality" in page.locator("h1 + p").inner_text()
        assert [link.get_attribute("href") for link in page.locator("nav a").all()] == [
            "#heads", "#training", "#confusions", "#classes", "#calibration", "#products", "#mistakes", "#settings",
        ]  # fmt: skip
        assert is_narrow(page)


def test_three_modalities_have_a_triangle_of_weights(tmp_path):
    settings = replace(QUICK, fusions=("late",), weights="sweep", guard=True)
    made = run(tmp_path, modalities=("image", "sound", "text"), settings=settings)
    with opened(made.report_path, width=360) as page:
        assert page.locator("#weights ~ .tall table").first.locator("tbody tr").count() == 66
        assert "which chose nothing; the validation rows chose" in page.locator("#weights + p").inner_text()
        assert page.locator("svg[aria-label*='over its weights']").count() == 1
        assert is_narrow(page)


@undrawn_here
def test_untrained_encoders_and_controls_are_warned_of(tmp_path):
    path = shop(tmp_path / "c.h5", spread=20.0)
    vectors = {name: np.random.default_rng(0).standard_normal((150, 4)) for name in ("image", "text")}
    synthetic_cache(path, vectors, {"label": [f"{n % 3}" for n in range(150)]}, encoder="random")
    made = train(path, settings=replace(QUICK, encoders={"image": "random", "text": "random"}),
                 runs_path=tmp_path / "runs", report=ReportSettings())  # fmt: skip
    with opened(made.report_path) as page:
        notes = texts(page, "h1 ~ .note")
        assert "UNTRAINED encoders (random, random)" in " ".join(notes)
        chosen = next(
            one for one in made.verdicts if one.fusion == choose_heads(made.metrics, ["image", "text"]).fusion
        )
        assert chosen.warnings
        assert set(chosen.warnings) <= {" ".join(note.split()) for note in notes}
        assert page.locator(".blank").count() == 0 < page.locator(".cards > li").count()
        assert "no column of pictures" in page.locator("#products + p").inner_text()


@undrawn_here
def test_a_cache_that_was_written_anew_gives_no_titles(tmp_path, monkeypatch):
    """Its rows may be other products by now."""
    path = shop(tmp_path / "c.h5")

    class Anew(Cache):
        content_sha256 = "another"

    monkeypatch.setattr(heads.reports.example_products, "Cache", Anew)
    made = train(path, settings=replace(QUICK, fusions=()), runs_path=tmp_path / "runs", report=ReportSettings())
    text = made.report_path.read_text()
    assert "The cache was written anew" in text
    assert 'class="blank"' not in text
    assert "<img" not in text


@undrawn_here
def test_a_report_that_fails_leaves_the_run_whole(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("some mistake")

    monkeypatch.setattr(heads.reports.train_page, "render_page", fail)
    path = shop(tmp_path / "c.h5")
    with pytest.raises(ZeroDivisionError):
        train(path, settings=replace(QUICK, fusions=()), runs_path=tmp_path / "runs", report=ReportSettings())
    assert list(load_heads(tmp_path / "runs" / "label-001")) == ["image", "text"]
    assert not list((tmp_path / "runs" / "label-001").glob("*report*"))


@undrawn_here
def test_the_command_is_shown_as_a_shell_takes_it(tmp_path, monkeypatch):
    path = shop(tmp_path / "a shop" / "c.h5")
    arguments = [str(path), "--fusion", "text", "--max-epochs", "1", "--runs", str(tmp_path / "it's")]
    monkeypatch.setattr("sys.argv", ["heads-train", *arguments])
    result = invoke(command, *arguments)
    assert result.exit_code == 0, result.stderr
    report_path = tmp_path / "it's" / "label-001" / "report.html"
    assert result.stdout.splitlines()[-1].startswith(f"{report_path}  (")
    text = words(report_path)
    assert f"heads-train '{path}' --fusion text" in text
    assert json.loads(report_path.with_name("config.json").read_text())["cache_content_sha256"] in text


def test_no_report_leaves_it_out(tmp_path):
    arguments = ("--runs", tmp_path / "runs", "--fusion", "text", "--max-epochs", 1, "--no-report")
    result = invoke(command, shop(tmp_path / "c.h5"), *arguments)
    assert not (tmp_path / "runs" / "label-001" / "report.html").exists()
    assert result.stdout.splitlines()[-1].startswith(f"{tmp_path / 'runs' / 'label-001'}  (")


@pytest.mark.parametrize(
    ("columns", "settings", "chosen"),
    [
        ({}, {}, ("image", "title")),
        ({"Product Display-Name": [""] * 3}, {}, (None, "Product Display-Name")),
        ({"a": [""] * 3, "b": [""] * 3}, {"image_column": "a", "title_column": "b"}, ("a", "b")),
        ({"a": [""] * 3}, {}, (None, None)),
    ],
)
def test_columns_are_found_by_their_usual_names_or_named(tmp_path, columns, settings, chosen):
    cells = columns or {"title": [""] * 3, "image": [""] * 3, "file": [""] * 3, "caption": [""] * 3}
    with Cache(synthetic_cache(tmp_path / "c.h5", {"image": np.eye(3)}, cells)) as cache:
        assert choose_columns(cache, ReportSettings(**settings)) == ReportColumns(*chosen)


def test_a_column_that_is_not_there_is_refused_before_anything_is_trained(tmp_path):
    path = shop(tmp_path / "c.h5")
    with pytest.raises(SettingError, match=r"--title-column: expected one of .*label, image, title.*'name'"):
        train(path, settings=QUICK, runs_path=tmp_path / "runs", report=ReportSettings(title_column="name"))
    assert not (tmp_path / "runs").exists()


@undrawn_here
@pytest.mark.parametrize("weights", [None, "auto", "sweep"])
def test_a_choice_says_that_its_own_rows_fitted_late_s_weights(tmp_path, weights):
    made = run(tmp_path, settings=replace(QUICK, fusions=("late",), weights=weights))
    shown = "late's weights were fitted on the validation rows too." in words(made.report_path)
    assert shown == (weights is not None)


@undrawn_here
def test_rows_that_were_altered_are_counted_where_they_are_fewer(found, tmp_path, monkeypatch):
    monkeypatch.setattr("heads.experiment.findings.evaluation.ALTERED_ROWS", 7)
    made = run(tmp_path, settings=replace(QUICK, fusions=("early",)))
    for one, rows in ((found, "the test rows"), (made, "7 of the test rows, drawn at random")):
        text = words(one.report_path)
        assert f"some modalities alone, on {rows}." in text
        assert f"shuffled among {rows}: what" in text


def test_the_best_heads_are_chosen_by_validation_rows_and_guards_are_left_out():
    scores = {"image": 0.5, "text": 0.6, "early": 0.7, "late": 0.7, "late+guard": 0.9}
    metrics = {name: {"validation": {"macro_f1": value}, "macro_f1": -value} for name, value in scores.items()}
    assert choose_heads(metrics, ["image", "text"]) == Choice("early", "text", "early")
    assert choose_heads({"text": metrics["text"]}, ["text"]) == Choice("text", "text", None)


def test_mistakes_are_the_surest_first_and_guesses_are_none():
    answers = Predictions(
        classes=np.array([0, 1, 1, 0, 1]),
        confidences=np.array([0.9, 0.6, 0.8, 0.5, 0.99], dtype=np.float32),
        is_known=np.array([True, True, True, True, False]),
    )
    assert choose_mistakes(answers, np.array([0, 0, 0, 1, 0])).tolist() == [2, 1, 3]


def test_samples_follow_from_the_generator_and_are_all_where_there_are_few():
    one, other = (choose_samples(100, np.random.default_rng(3)).tolist() for _ in range(2))
    assert one == other == sorted(set(one))
    assert len(one) == 12
    assert choose_samples(5, np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4]
