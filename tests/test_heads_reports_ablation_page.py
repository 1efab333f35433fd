"""The page of an ablation: all that was found, on a phone too, with hostile names as text and failures in sight."""

import re
from dataclasses import replace

import numpy as np
import pytest
from browser import opened, words
from support import class_vectors, invoke, synthetic_cache

from heads.ablation.ablation_settings import AblationSettings
from heads.ablation.naming import Naming
from heads.ablation.ranking import Ranked, Spread
from heads.ablation.setting_effects import axes_of
from heads.commands.ablate import ablate as ablate_command
from heads.experiment.configuration import Configuration
from heads.reports.ablation_figures import looks_of, pareto_front, short_name
from heads.settings import FitSettings
from heads.workflows.ablate import ablate

pytestmark = pytest.mark.slow
undrawn_here = pytest.mark.usefixtures("undrawn_here")

HOSTILE = "<img src=x onerror='document.title=1'>{{ 7*7 }} & 商品 \\d $x_1$"
LONG = "an-encoder-with-a-name-that-no-phone-is-wide-enough-for-" * 2
QUICK = AblationSettings(
    fusions=("early", "late", "logistic"),
    grid={"hidden_dim": (8,), "max_epochs": (3,), "learning_rate": (2e-3, 1e-2)},
    n_folds=2,
    seeds=(0, 1),
    n_resamples=100,
    precision="fp32",
)


def shop(path, *, encoders=("first",), label="label"):
    targets = np.random.default_rng(0).integers(3, size=90)
    text = class_vectors(targets, 6, spread=1.5, seed=2)
    for place, name in enumerate(encoders):
        vectors = {"image": class_vectors(targets, 8, spread=2.0, seed=10 + place), "text": text}
        synthetic_cache(path, vectors, {label: [f"class {code}" for code in targets]}, encoder=name)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def cache_path(folder):
    return shop(folder / "c.h5")


@pytest.fixture(scope="module")
def page_of(cache_path, folder):
    """Make a small ablation, trained at most once, and return it with its page."""

    def page_of(settings=QUICK, *, cache=cache_path, **options):
        return ablate(cache, settings=settings, runs_path=folder / "runs", **options).run_path / "report.html"

    return page_of


@pytest.fixture(scope="module")
def usual_path(page_of):
    """The page of the quick ablation."""
    return page_of(command=["heads-ablate", "c.h5", "--label", "it's"])


def cells(page, table, place):
    return page.locator(f"#{table}-table tbody td:nth-child({place})").all_inner_texts()


def sort(page, table, heading):
    page.locator(f"#{table}-table").get_by_role("button", name=re.compile(rf"^{heading}\W*$")).click()


def test_the_page_opens_offline_and_says_what_the_command_prints(usual_path):
    with opened(usual_path) as page:
        assert page.title() == "label: ablation"
        assert page.locator(".verdict").inner_text().startswith("Chosen on the validation rows: ")
        assert page.locator("h2").all_inner_texts() == [
            "Ranking",
            "How each setting matters",
            "Cost",
            "Folds and seeds",
            "Training",
            "All jobs",
            "What it was made from",
        ]
        assert page.locator("figure svg").count() == 5
        assert page.locator("pre").inner_text() == "heads-ablate c.h5 --label 'it'\"'\"'s'"
        assert page.locator("text=UNTRAINED").count() == 0


def test_a_click_sorts_the_ranking(usual_path):
    with opened(usual_path) as page:
        assert cells(page, "ranking", 1) == [str(place) for place in range(1, 10)]
        sort(page, "ranking", "head")
        assert cells(page, "ranking", 2) == sorted(cells(page, "ranking", 2))
        sort(page, "ranking", "accuracy")
        means = [float(cell.split(" ± ")[0]) for cell in cells(page, "ranking", 5)]
        assert means == sorted(means)
        assert len(means) == 9


def test_every_job_stands_in_a_table_of_its_own(usual_path):
    with opened(usual_path) as page:
        assert len(cells(page, "jobs", 1)) == 8 * 4 + 2  # logistic draws nothing: once a fold
        sort(page, "jobs", "fold")
        assert cells(page, "jobs", 4) == ["0"] * 17 + ["1"] * 17


@pytest.fixture(scope="module")
def hostile_path(page_of, folder):
    """A page whose every name is another's markup, or too long."""
    label = HOSTILE.replace("\\", "_")
    path = shop(folder / "hostile.h5", encoders=("other", LONG), label=label)
    return page_of(replace(QUICK, label=label, seeds=(0,), fusions=("early",)), cache=path)


@pytest.mark.parametrize("dark", [False, True])
def test_hostile_and_long_names_are_text_and_no_wider_than_a_phone(hostile_path, dark):
    label = HOSTILE.replace("\\", "_")
    with opened(hostile_path, width=360, dark=dark) as page:
        assert page.locator("h1").inner_text() == f"{label}: an ablation"
        assert page.title() == f"{label}: ablation"
        assert f"image {LONG}" in page.locator("#ranking-table").inner_text()
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@undrawn_here
def test_what_failed_is_shown_with_its_error(page_of):
    settings = replace(QUICK, fusions=("early",), grid={**QUICK.grid, "learning_rate": (2e-3, 1e30)})
    with opened(page_of(settings)) as page:
        errors = cells(page, "ranking", 11)
        assert errors[:3] == [""] * 3
        assert all("failed in 4 of 4 jobs" in error and "Lower --learning-rate" in error for error in errors[3:])
        assert sum("Lower --learning-rate" in error for error in cells(page, "jobs", 17)) == 12
        sort(page, "jobs", "best epoch")
        assert cells(page, "jobs", 12)[-12:] == [""] * 12


def test_an_ablation_in_which_all_fails_has_a_page(page_of):
    settings = replace(QUICK, grid={**QUICK.grid, "learning_rate": (1e30,)}, fusions=("early",))
    with opened(page_of(settings)) as page:
        assert "no verdict" in page.locator(".verdict").inner_text()
        assert page.locator("figure").count() == 0


@undrawn_here
def test_one_modality_has_a_page_without_a_verdict(page_of):
    with opened(page_of(replace(QUICK, modalities=("text",), fusions=("text",)))) as page:
        assert "One modality" in page.locator(".verdict").inner_text()
        assert cells(page, "ranking", 2) == ["text", "text"]


def test_one_job_has_a_page(page_of):
    settings = replace(QUICK, modalities=("text",), fusions=("text",), n_folds=1, seeds=(0,), grid={"max_epochs": (2,)})
    with opened(page_of(settings)) as page:
        assert page.locator("figure svg").count() == 1  # its curves


@undrawn_here
def test_more_rows_than_the_page_holds_are_in_the_tables_beside_it(page_of, monkeypatch):
    monkeypatch.setattr("heads.reports.ablation_page.MOST_ROWS", 7)
    with opened(page_of()) as page:
        assert (len(cells(page, "ranking", 1)), len(cells(page, "jobs", 1))) == (7, 7)
        text = page.locator("body").inner_text()
        assert "ranking.csv beside this page has them all" in text
        assert "jobs.csv beside this page has them all, the first 7 are here" in text


@undrawn_here
def test_untrained_encoders_are_called_so(page_of, folder):
    path = shop(folder / "random.h5", encoders=("random",))
    settings = replace(QUICK, fusions=("early",), seeds=(0,), grid={"max_epochs": (2,)})
    assert "UNTRAINED encoders (random)" in words(page_of(settings, cache=path))


@undrawn_here
def test_the_command_names_the_page_and_can_leave_it_out(cache_path, tmp_path):
    quick = ("--max-epochs", 1, "--hidden", 8, "--resamples", 100, "--folds", 2, "--fusion", "early")
    with_page = invoke(ablate_command, cache_path, *quick, "--runs", tmp_path, "--name", "a")
    assert with_page.stdout.splitlines()[-1].startswith(str(tmp_path / "a" / "report.html"))
    assert (tmp_path / "a" / "report.html").exists()
    without = invoke(ablate_command, cache_path, *quick, "--runs", tmp_path, "--name", "b", "--no-report")
    assert "report.html" not in without.stdout
    assert not (tmp_path / "b" / "report.html").exists()


@undrawn_here
def test_a_page_that_fails_leaves_the_folder_whole(cache_path, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("some mistake")

    monkeypatch.setattr("heads.reports.ablation_page.AblationPage.render", fail)
    with pytest.raises(ZeroDivisionError):
        ablate(cache_path, settings=replace(QUICK, fusions=("early",), seeds=(0,)), runs_path=tmp_path, name="a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["ablation.json", "jobs.csv", "ranking.csv"]
    assert not list(tmp_path.glob(".*"))


def test_a_class_weighing_of_one_s_own_is_a_word_beside_others(page_of):
    weighings = ("balanced", (1.0, 2.0, 1.0))
    settings = replace(QUICK, fusions=("early",), seeds=(0,), grid={"max_epochs": (2,), "class_weights": weighings})
    with opened(page_of(settings)) as page:
        text = page.locator("#settings-matter ~ .plots").first.inner_text()
        assert text.index("(1.0, 2.0") < text.index("balanced")


@undrawn_here
def test_settings_are_shown_as_they_were_asked_for(page_of):
    grid = {"max_epochs": (1,), "hidden_dim": (8,), "per_class": ("16", None)}
    settings = replace(QUICK, fusions=("early",), seeds=(0,), grid=grid)
    with opened(page_of(settings)) as page:
        names, values = (page.locator(f"#origin ~ dl >> nth=0 >> {tag}").all_inner_texts() for tag in ("dt", "dd"))
    shown = dict(zip(names, values, strict=True))
    assert {name: shown[name] for name in ("encoders", "per class", "folds", "fusions")} == {
        "encoders": "all", "per class": "16, all", "folds": "2", "fusions": "early",
    }  # fmt: skip
    assert not {"metadata counts", "metadata columns", "modalities", "grid", "weights"} & shown.keys()


@undrawn_here
@pytest.mark.parametrize("weights", [None, "auto"])
def test_weights_that_the_ranking_s_own_rows_fitted_are_called_so(cache_path, tmp_path, weights):
    quick = ("--max-epochs", 1, "--hidden", 8, "--resamples", 100, "--folds", 1, "--fusion", "late", "--name", "a")
    result = invoke(
        ablate_command, cache_path, *quick, *(["--weights", weights] if weights else []), "--runs", tmp_path
    )
    sentence = "late's weights were fitted on the validation rows too."
    assert (sentence in words(tmp_path / "a" / "report.html")) == (weights == "auto")
    assert (sentence in result.stdout) == (weights == "auto")


def ranked(head, mean, encoders=(("text", "a"),), **settings):
    found = Configuration(head, encoders, FitSettings(**settings))
    return Ranked(found, 1, 0, 1.0, validation=Spread(mean, 0.0) if mean is not None else None)


def test_an_axis_is_the_mean_over_all_other_settings():
    rows = [
        ranked("text", 0.5, learning_rate=0.1, hidden_dim=4),
        ranked("text", 0.7, learning_rate=0.1, hidden_dim=8),
        ranked("text", 0.2, learning_rate=0.01, hidden_dim=4),
        ranked("text", None, learning_rate=0.01, hidden_dim=8),
    ]
    rate, width = sorted(axes_of(rows, Naming(row.configuration for row in rows)), key=lambda axis: axis.kind)
    assert (rate.name, rate.kind, width.name, width.kind) == ("learning rate", "log", "hidden dim", "powers")
    assert rate.means == {"text": {0.01: 0.2, 0.1: pytest.approx(0.6)}}
    assert width.means == {"text": {4: pytest.approx(0.35), 8: 0.7}}
    assert list(rate.means["text"]) == rate.values == [0.01, 0.1]


def test_an_encoder_is_an_axis_of_words_and_a_head_with_one_value_is_left_out():
    rows = [
        ranked("image", 0.5, encoders=(("image", "a"),)),
        ranked("image", 0.6, encoders=(("image", "b"),)),
        ranked("text", 0.6),
        ranked("early", 0.7, encoders=(("image", "a"), ("text", "a"))),
    ]
    (axis,) = axes_of(rows, Naming(row.configuration for row in rows))
    assert (axis.name, axis.kind) == ("image encoder", "words")
    assert axis.means == {"image": {"a": 0.5, "b": 0.6}}


def test_all_rows_of_a_class_are_an_axis_s_word():
    rows = [ranked("text", 0.5), ranked("text", 0.6, per_class="smallest")]
    (axis,) = axes_of(rows, Naming(row.configuration for row in rows))
    assert axis.means == {"text": {"all": 0.5, "smallest": 0.6}}


def test_the_front_is_what_none_is_cheaper_and_better_than():
    generator = np.random.default_rng(0)
    costs, scores = generator.integers(9, size=(2, 60))
    front = pareto_front(list(costs), list(scores))
    beaten = {
        place
        for place in range(60)
        for other in range(60)
        if costs[other] <= costs[place]
        and scores[other] >= scores[place]
        and (costs[other] < costs[place] or scores[other] > scores[place])
    }
    best = {(costs[place], scores[place]) for place in set(range(60)) - beaten}
    assert {(costs[place], scores[place]) for place in front} == best
    assert [costs[place] for place in front] == sorted(costs[place] for place in front)


def test_no_two_heads_look_alike():
    looks = looks_of([f"head {n}" for n in range(42)])
    assert len({tuple(look.values()) for look in looks.values()}) == 42


@pytest.mark.parametrize("name", ["a\nb\tc", "caf\udce9", "x" * 99, "\x00\x1b[31m", ""])
def test_a_name_in_a_figure_is_short_printable_and_on_one_line(name):
    short = short_name(name)
    assert len(short) <= 36
    assert short.isprintable()
    short.encode()
