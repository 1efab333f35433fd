"""Grids: from text to the configurations that differ in what they train."""

import pytest
from support import DIRECT, FUSIONS

from heads.ablation.ablation_settings import AblationSettings, parse_seeds
from heads.ablation.grid import parse_axis, span
from heads.ablation.grid_file import read_grid_file
from heads.ablation.job_keys import _settings_in_key, _without_later
from heads.ablation.naming import Naming
from heads.errors import SettingError
from heads.experiment.configuration import AXES, Configuration, FoldJob, configurations_of, used_settings
from heads.modules.description import HeadDescription
from heads.settings import FitSettings

BOTH = {"image": "a", "text": "b"}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("learning_rate", "1e-3, 3e-3", (0.001, 0.003)),
        ("hidden_dim", "256,512,256", (256, 512)),
        ("hidden_dim", "1e2,", (100,)),
        ("absent", "zeros,learned", ("zeros", "learned")),
        ("per_class", "all,smallest,20", (None, "smallest", "20")),
    ],
)
def test_a_list_names_values(name, text, values):
    assert parse_axis(name, text) == values


@pytest.mark.parametrize(
    ("name", "text", "kind", "low", "high"),
    [
        ("learning_rate", "1e-4..1e-2", "log", 1e-4, 1e-2),
        ("weight_decay", "1e-3..1", "log", 1e-3, 1),
        ("dropout", "0..0.5", "linear", 0, 0.5),
        ("hidden_dim", "64..512", "powers", 64, 512),
        ("rank", "2..9", "whole", 2, 9),
    ],
)
def test_a_range_is_searched_as_suits_its_setting(name, text, kind, low, high):
    axis = parse_axis(name, text)
    assert (axis.kind, axis.low, axis.high) == (kind, low, high)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("learning_rate", "x", "--learning-rate: expected numbers"),
        ("learning_rate", "nan", "--learning-rate"),
        ("learning_rate", "-1", "--learning-rate: expected positive"),
        ("learning_rate", "", "--learning-rate: expected one value or more"),
        ("learning_rate", "0..1", "positive"),
        ("learning_rate", "2..1", "the smaller first"),
        ("hidden_dim", "2.5", "whole"),
        ("hidden_dim", "30", "a multiple of 4"),
        ("hidden_dim", "48..512", "powers of two"),
        ("dropout", "0..1", "less than 1"),
        ("absent", "zero", "zeros or learned"),
        ("per_class", "some", "--per-class"),
    ],
)
def test_what_is_no_value_of_a_setting_is_a_named_error(name, text, words):
    with pytest.raises(SettingError, match=words):
        parse_axis(name, text)


def test_a_grid_is_every_combination():
    settings_list = span({"learning_rate": (0.1, 0.2), "hidden_dim": (4, 8)})
    assert [(one.learning_rate, one.hidden_dim) for one in settings_list] == [(0.1, 4), (0.1, 8), (0.2, 4), (0.2, 8)]
    assert span({}) == [FitSettings()]


def test_a_setting_that_a_head_does_not_use_makes_no_jobs():
    """The rank is lowrank's: 3 ranks are three configurations of it, and one of every other head."""
    configurations = configurations_of(FUSIONS, [BOTH], span({"rank": (2, 4, 8)}))
    counts = {name: sum(one.head == name for one in configurations) for name in ("image", "text", *FUSIONS)}
    assert counts == dict.fromkeys(counts, 1) | {"lowrank": 3}


@pytest.mark.parametrize("name", ["absent", "modality_dropout"])
def test_absence_is_no_matter_of_one_modality_nor_of_late_fusion(name):
    users = {head for head in ("image", "late", "early") if name in used_settings(head, 1 if head == "image" else 2)}
    assert users == {"early"}


def test_every_setting_is_used_by_some_head():
    used = {name for head in FUSIONS for name in used_settings(head, 2)}
    assert used == set(AXES)
    assert "seed" not in AXES


EVERYTHING = {
    "learning_rate": (0.1, 0.2),
    "hidden_dim": (64, 128),
    "rank": (2, 3),
    "dropout": (0.0, 0.1),
    "absent": ("zeros", "learned"),
    "per_class": (None, "smallest"),
    "logit_adjustment": (0.0, 1.0),
    "modality_dropout": (0.0, 0.2),
}


def test_a_head_that_is_fitted_at_once_uses_class_weights_at_most():
    grid = span({**EVERYTHING, "class_weights": ("equal", "balanced")})
    configurations = configurations_of(DIRECT, [BOTH], grid)
    counts = {name: sum(one.head == name for one in configurations) for name in DIRECT}
    assert counts == {
        "majority": 1, "centroids": 1, "neighbours": 1, "logistic": 2, "stack": 2, "residual": 2,
        "sklearn-logistic": 2, "sklearn-svm": 2, "sklearn-forest": 2, "sklearn-boosting": 2,
    }  # fmt: skip


def test_a_head_of_one_s_own_uses_neither_sizes_nor_dropout_of_the_built_in_ones():
    used = used_settings("mine.py:Mine", 2)
    ignored = {"hidden_dim", "n_tokens", "n_attention_heads", "rank", "dropout", "absent"}
    assert set(used) == set(AXES) - ignored
    configurations = configurations_of(
        ("mine.py:Mine",), [BOTH], span({name: EVERYTHING[name] for name in ("rank", "dropout")})
    )
    assert sum(one.head == "mine.py:Mine" for one in configurations) == 1


def test_settings_at_their_defaults_make_the_keys_of_before_there_were_such():
    """Else all that is remembered would be trained again."""
    plain = FitSettings(schedule="none")
    assert set(_settings_in_key(FoldJob(Configuration.of("early", BOTH, plain), 0, 0))) == {
        "seed", "hidden_dim", "n_tokens", "n_attention_heads", "rank", "dropout", "modality_dropout", "absent",
        "learning_rate", "weight_decay", "batch_size", "max_epochs", "patience", "keep", "class_weights",
        "logit_adjustment", "per_class",
    }  # fmt: skip
    described = HeadDescription(
        name="early", dims={"text": 2}, n_classes=2, hidden_dim=4, dropout=0.0, n_tokens=1, n_attention_heads=1
    )
    assert set(_without_later(described.to_dict())) == {
        "name", "dims", "n_classes", "hidden_dim", "dropout", "n_tokens", "n_attention_heads", "rank", "n_stored",
        "plugin", "absent", "weights", "token_dims", "n_positions",
    }  # fmt: skip
    assert (
        _settings_in_key(FoldJob(Configuration.of("early", BOTH, FitSettings(scaling="l2")), 0, 0))["scaling"] == "l2"
    )


def test_a_seed_matters_to_what_draws_numbers():
    names = (*DIRECT, *FUSIONS, "image", "mine.py:Mine")
    configurations = [Configuration.of(name, BOTH, FitSettings()) for name in names]
    unseeded = {one.head for one in configurations if not one.is_seeded}
    assert unseeded == {"majority", "centroids", "neighbours", "logistic"}


def test_a_modality_alone_is_not_multiplied_by_the_encoders_of_the_other():
    combinations = [{"image": image, "text": text} for image in ("a", "b") for text in ("c", "d", "e")]
    configurations = configurations_of(("early",), combinations, [FitSettings()])
    assert [one.head for one in configurations] == ["image"] * 2 + ["text"] * 3 + ["early"] * 6


def test_late_fusion_averages_the_single_heads_of_its_own_settings():
    (own,) = span({"learning_rate": (0.1,), "absent": ("learned",), "rank": (3,)})
    configurations = configurations_of(("late",), [BOTH], [own])
    assert set(configurations[-1].members) == set(configurations[:2])
    assert configurations[0].members == ()


def test_a_width_that_only_other_heads_can_have_is_no_error():
    own = FitSettings(hidden_dim=30, n_attention_heads=5)
    assert Configuration.of("early", BOTH, own).settings.hidden_dim == 30
    assert Configuration.of("attention", BOTH, own).settings.n_attention_heads == 5


def test_names_say_what_varies_and_nothing_else():
    combinations = [{"image": image, "text": "t"} for image in ("a", "b")]
    configurations = configurations_of(
        ("early", "lowrank"), combinations, span({"learning_rate": (1e-3, 3e-3), "rank": (2, 4)})
    )
    naming = Naming(configurations)
    assert naming.name(configurations[0]) == "image (a lr 0.001)"
    assert {naming.name(one) for one in configurations if one.head == "text"} == {"text (lr 0.001)", "text (lr 0.003)"}
    assert "lowrank (image b rank 4 lr 0.003)" in {naming.name(one) for one in configurations}
    assert Naming(configurations[:1]).name(configurations[0]) == "image"


@pytest.mark.parametrize(("text", "seeds"), [("3", (0, 1, 2)), ("7,11", (7, 11)), ("7,", (7,)), ("1", (0,))])
def test_seeds_are_a_number_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["1000000000000", "10001", ",".join(map(str, range(10_001)))])
def test_seeds_have_a_bound(text):
    with pytest.raises(SettingError, match="--seeds: expected 10000 seeds at most"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "1,-2", ",", "9" * 5000])
def test_what_is_no_seeds_is_a_named_error(text):
    with pytest.raises(SettingError, match="--seeds: expected a number of seeds"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_folds": 0}, "--folds: expected at least 1"),
        ({"seeds": ()}, "--seeds"),
        ({"seeds": (1, 1)}, "--seeds"),
        ({"n_folds": 3, "split_column": "side"}, "--split-column makes one fold"),
        ({"grid": {"size": (1,)}}, "size"),
        ({"grid": {"rank": ()}}, "one value or more"),
        ({"grid": {"dropout": parse_axis("dropout", "0..0.5")}}, "--search N"),
        ({"n_trials": 0}, "--search: expected at least 1"),
        ({"n_folds": 2, "validation_share": 0.5}, "what the test rows leave"),
        ({"weights": "1,2", "fusions": ("early",)}, "late"),
        ({"n_resamples": 10}, "--resamples"),
    ],
)
def test_settings_out_of_range_are_named_errors(changes, words):
    with pytest.raises(SettingError, match=words):
        AblationSettings(**changes)


OPTIONS = {"lr": "learning_rate", "learning-rate": "learning_rate", "fusion": "fusion", "folds": "n_folds"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.yaml", "lr: [1e-3, 0.003]\nfusion: early, late\nfolds: 3\n"),
        ("g.yml", "learning_rate:\n - 1e-3\n - 0.003\nfusion: early, late\n--folds: 3"),
        ("g.toml", "learning-rate = ['1e-3', 0.003]\nfusion = 'early, late'\nfolds = 3"),
    ],
)
def test_a_file_says_what_the_command_line_would(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    values = read_grid_file(tmp_path / name, OPTIONS)
    assert values == {"learning_rate": "1e-3,0.003", "fusion": "early, late", "n_folds": "3"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("g.yaml", "rate: 1", r"options' names as keys \(folds, fusion, learning-rate, lr\), got 'rate'"),
        ("g.yaml", "lr: {a: 1}", "give lr a word, a number, or a list"),
        ("g.yaml", "lr: []", "give lr a word"),
        ("g.yaml", "lr: true", "give lr a word"),
        ("g.yaml", "lr: 1\nlearning_rate: 2", "say each option once"),
        ("g.yaml", "lr: [1", "to be YAML"),
        ("g.yaml", "!!python/object/apply:os.getcwd []", "to be YAML"),
        ("g.yaml", "- lr", "a key and a value"),
        ("g.toml", "lr 1", "to be TOML"),
        ("g.json", "{}", "ends in .yaml, .yml or .toml"),
        ("g.yaml", b"lr: \xff", "UTF-8"),
    ],
)
def test_a_file_that_is_no_grid_is_a_named_error(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError, match=words):
        read_grid_file(tmp_path / name, OPTIONS)


def test_a_value_that_refers_to_itself_is_a_short_error(tmp_path):
    """Written out it would have 9^30 words."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 31)]
    (tmp_path / "g.yaml").write_text("\n".join(["lr:", *(f"  {line}" for line in lines)]))
    with pytest.raises(SettingError, match="give lr a word") as raised:
        read_grid_file(tmp_path / "g.yaml", OPTIONS)
    assert len(str(raised.value)) < 2000
