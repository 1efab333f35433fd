"""Heads with modalities missing or shuffled, against masks and orders made by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import class_vectors, synthetic_cache

import heads.experiment.findings.input_variants
import heads.experiment.findings.missing_modalities
import heads.modules.ensemble
from cache import Cache
from heads.data.draws import generator_of
from heads.experiment.findings.importance import measure_importance, shuffle_modality
from heads.experiment.findings.input_variants import answer_variants
from heads.experiment.findings.missing_modalities import SHARES, drop_entries, score_missing, subsets
from heads.metrics.score_drop import Drop
from heads.metrics.scores import scores
from heads.modules.ensemble import Ensemble
from heads.modules.saving.head_set import answer_all
from heads.runs.folder import load_heads
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = pytest.mark.usefixtures("undrawn")

QUICK = TrainSettings(fusions=("early", "attention", "late"), hidden_dim=16, max_epochs=4, n_resamples=100)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A run over products of which some lack a picture or a text, with token states of the texts."""
    folder = tmp_path_factory.mktemp("missing")
    generator = np.random.default_rng(0)
    targets = np.arange(200) % 3
    vectors = {"image": class_vectors(targets, 6, seed=1), "text": class_vectors(targets, 5, seed=2)}
    tokens = {"text": [generator.standard_normal((1 + n % 4, 5)) for n in range(200)]}
    present = {"image": np.arange(200) % 7 != 0, "text": np.arange(200) % 9 != 0}
    labels = [f"class {code}" for code in targets]
    path = synthetic_cache(folder / "c.h5", vectors, {"label": labels}, present=present, tokens=tokens)
    report = train(path, settings=QUICK, runs_path=folder / "runs")
    found = list(load_heads(report.run_path).values())
    with Cache(path) as cache:
        answered = {own.name: own.vectors_of(cache) for own in found}
        rows = np.array([int(row) for row in cache.ids()])
    test = torch.from_numpy(np.sort(np.flatnonzero(np.isin(rows, sides_of(report)))))
    return report, found, answered["attention"].take(test), targets[test]


def sides_of(report):
    split = json.loads((report.run_path / "config.json").read_text())["split"]
    return [int(row) for row in split["test"]]


def macro_f1(head, vectors, targets):
    return scores(targets, head.probabilities(vectors).argmax(1), 3)["macro_f1"]


def test_subsets_are_all_but_the_empty_one():
    assert subsets(["b", "a", "c"]) == [
        ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c"),
    ]  # fmt: skip


@pytest.mark.slow
def test_every_head_is_scored_on_every_subset(shop):
    report, found, *_ = shop
    assert list(report.missing) == ["image", "text", "image+text", "10% missing", "30% missing", "50% missing"]
    assert all(list(scored) == list(report.metrics) for scored in report.missing.values())
    for head in found:
        assert report.missing["image+text"][head.name]["macro_f1"] == report.metrics[head.name]["macro_f1"]


@pytest.mark.parametrize("only", ["image", "text"])
def test_a_subset_is_what_masks_by_hand_give(shop, only):
    report, found, vectors, targets = shop
    other = {"image": "text", "text": "image"}[only]
    masked = replace(
        vectors,
        present=vectors.present | {other: torch.zeros(len(targets), dtype=torch.bool)},
        inputs=vectors.inputs | {other: torch.full_like(vectors.inputs[other], torch.nan)},
    )
    for head in found:
        assert report.missing[only][head.name]["macro_f1"] == macro_f1(head, masked, targets)


@pytest.mark.parametrize("share", SHARES)
def test_missing_entries_are_what_masks_by_hand_give(shop, share):
    """They are looked up among the answers to the subsets."""
    report, found, vectors, targets = shop
    generator = generator_of(QUICK.seed, "missing entries")
    left = {one: drop_entries(vectors.present, one, generator) for one in SHARES}[share]
    for head in found:
        assert report.missing[f"{100 * share:.0f}% missing"][head.name]["macro_f1"] == macro_f1(
            head, vectors.with_present(left), targets
        )


def test_each_subset_is_answered_once_and_nothing_else(shop, monkeypatch):
    _, found, vectors, targets = shop
    asked = []

    def watched(heads, variants):
        variants = list(variants)
        asked.extend(variants)
        return answer_variants(heads, variants)

    monkeypatch.setattr(heads.experiment.findings.missing_modalities, "answer_variants", watched)
    score_missing(found, vectors, targets, generator=np.random.default_rng(0))
    assert len(asked) == len(subsets(["image", "text"]))


def test_a_modality_that_is_there_alone_gives_its_own_heads_scores_in_late_fusion(shop):
    _, found, vectors, targets = shop
    both = (vectors.present["image"] & vectors.present["text"]).numpy()
    rows = torch.from_numpy(np.flatnonzero(both))
    scored = score_missing(found, vectors.take(rows), targets[both], generator=np.random.default_rng(0))
    for only in ("image", "text"):
        assert scored[only]["late"] == scored[only][only]


@pytest.mark.parametrize("share", SHARES)
def test_so_many_entries_are_missing_and_no_row_loses_its_last(share):
    generator = np.random.default_rng(0)
    present = {name: torch.from_numpy(generator.random(1000) < 0.9) for name in ("a", "b", "c")}
    left = drop_entries(present, share, np.random.default_rng(1))
    before, after = (torch.stack(list(masks.values())) for masks in (present, left))
    assert int(before.sum() - after.sum()) == round(share * int(before.sum()))
    assert not (after & ~before).any()
    assert torch.equal(before.any(0), after.any(0))


def test_half_of_what_two_modalities_have_can_be_missing():
    present = {name: torch.ones(500, dtype=torch.bool) for name in ("image", "text")}
    left = drop_entries(present, 0.5, np.random.default_rng(0))
    assert torch.equal(left["image"], ~left["text"])
    assert 0.4 < left["image"].float().mean() < 0.6


def test_the_same_seed_hides_the_same_entries():
    present = {name: torch.ones(500, dtype=torch.bool) for name in ("image", "text")}
    first, same, other = (drop_entries(present, 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first["image"], same["image"])
    assert not torch.equal(first["image"], other["image"])


def test_hidden_tokens_are_not_looked_at(shop):
    """Attention answers as if the text's tokens were not there."""
    _, found, vectors, targets = shop
    attention = next(head for head in found if head.name == "attention")
    nothing = torch.zeros(len(targets), dtype=torch.bool)
    hidden = vectors.with_present({"image": vectors.present["image"], "text": nothing})
    assert int(hidden.tokens["text"].counts.sum()) == 0
    others = replace(hidden, tokens={"text": replace(hidden.tokens["text"], values=hidden.tokens["text"].values * 3)})
    assert np.array_equal(attention.probabilities(hidden), attention.probabilities(others))


@pytest.mark.parametrize("at_once", [1, 100, 16_384])
def test_variants_are_answered_as_each_alone(shop, monkeypatch, at_once):
    _, found, vectors, _ = shop
    monkeypatch.setattr(heads.experiment.findings.input_variants, "ROWS_AT_ONCE", at_once)
    several = [shuffle_modality(vectors, "text", np.random.default_rng(seed)) for seed in range(3)]
    together = list(answer_variants(found, iter(several)))
    assert len(together) == 3
    for answers, alone in zip(together, several, strict=True):
        for head in found:
            assert np.array_equal(answers[head.name], head.probabilities(alone).argmax(1))


def test_variants_of_many_classes_are_answered_few_at_a_time(shop, monkeypatch):
    _, found, vectors, targets = shop
    seen = []

    def answer(heads_, joined):
        seen.append(len(joined.present["text"]))
        return answer_all(heads_, joined)

    monkeypatch.setattr(heads.experiment.findings.input_variants, "answer_all", answer)
    monkeypatch.setattr(
        heads.experiment.findings.input_variants, "CELLS_AT_ONCE", 2 * len(targets) * len(found[0].classes)
    )
    assert len(list(answer_variants(found, iter([vectors] * 3)))) == 3
    assert seen == [2 * len(targets), len(targets)]


def test_answers_of_many_classes_are_averaged_few_rows_at_a_time(monkeypatch):
    sizes = []

    class Mean(Ensemble):
        def parts(self):
            return []

        def average(self, answers, present):
            sizes.append(len(answers))
            assert len(present["text"]) == len(answers)
            return answers.mean(1)

    monkeypatch.setattr(heads.modules.ensemble, "BLOCK_CELLS", 2 * 5 * 3)
    answers = [torch.rand(7, 5), torch.rand(7, 5)]
    averages = Mean().average_all(answers, {"text": torch.ones(7, dtype=torch.bool)})
    assert sizes == [3, 3, 1]
    assert torch.equal(averages, torch.stack(answers).mean(0))


def test_a_shuffled_modality_takes_its_presence_and_tokens_along(shop):
    _, _, vectors, _ = shop
    shuffled = shuffle_modality(vectors, "text", np.random.default_rng(4))
    order = np.random.default_rng(4).permutation(len(vectors.present["text"]))
    assert torch.equal(shuffled.inputs["text"], vectors.inputs["text"][order])
    assert torch.equal(shuffled.present["text"], vectors.present["text"][order])
    assert torch.equal(shuffled.tokens["text"].starts, vectors.tokens["text"].starts[order])
    assert torch.equal(shuffled.inputs["image"], vectors.inputs["image"])
    assert torch.equal(shuffled.present["image"], vectors.present["image"])


def test_importance_is_the_mean_drop_over_five_shuffles(shop):
    report, found, vectors, targets = shop
    generator = generator_of(QUICK.seed, "shuffles")
    shuffled = {name: [shuffle_modality(vectors, name, generator) for _ in range(5)] for name in ("image", "text")}
    for verdict in report.verdicts:
        head = next(own for own in found if own.name == verdict.fusion)
        for name, own in verdict.importance.items():
            drops = [macro_f1(head, vectors, targets) - macro_f1(head, one, targets) for one in shuffled[name]]
            assert own["macro_f1"].mean == pytest.approx(np.mean(drops))
            assert own["macro_f1"].sd == pytest.approx(np.std(drops, ddof=1))


def test_a_modality_that_a_head_does_not_see_is_worth_nothing(shop):
    _, found, vectors, targets = shop
    image = next(head for head in found if head.name == "image")
    drops = measure_importance([image], vectors, targets, generator=np.random.default_rng(0))["image"]
    assert drops["text"]["accuracy"] == Drop(0.0, 0.0, 0.0, 0.0)
    assert drops["image"]["accuracy"].mean > 0


def test_the_interval_of_a_drop_leaves_zero_out_once_in_twenty_times():
    """Six draws from one distribution, of which the first is the rows as they are."""
    draws = np.random.default_rng(0).normal(size=(4000, 6))
    found = [Drop.of(own[0] - own[1:]) for own in draws]
    outside = np.mean([drop.low > 0 or drop.high < 0 for drop in found])
    assert 0.04 < outside < 0.06


def test_one_modality_alone_has_nothing_to_miss(tmp_path):
    targets = np.arange(120) % 2
    path = synthetic_cache(tmp_path / "c.h5", {"text": class_vectors(targets, 8)}, {"label": [f"{n}" for n in targets]})
    assert train(path, settings=replace(QUICK, fusions=()), runs_path=tmp_path / "runs").missing == {}
