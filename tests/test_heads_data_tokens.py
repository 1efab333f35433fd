"""Attention over cached token states: it sees what pooled vectors lose, and never the padding."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import FUSIONS, invoke, synthetic_cache
from test_heads_modules import N_CLASSES, TWO, dead_parameters, description_of, rows_of, take

from cache import Cache, MissingEntryError
from cache.keys import fields_sha256
from cache.tokens import MOST_TOKENS
from heads.commands.predict import predict
from heads.commands.train import train as train_command
from heads.data.splitting.splits import Split
from heads.data.tokens import MOST_POSITIONS, ProductTokens, TokenBatch, load_tokens
from heads.data.vectors import load_vectors
from heads.errors import HeadError
from heads.modules.parts.standardiser import Standardise
from heads.modules.registry import build
from heads.modules.saving.row_blocks import TOKEN_STEP
from heads.modules.saving.saved_head import load_head
from heads.settings import TrainSettings
from heads.training.job import Job, Task
from heads.training.scheduler import fit
from heads.workflows.train import train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undrawn")]

TOKEN_DIMS = {"image": 7, "text": 6}
N_CELLS = 9


def head_of(token_dims=TOKEN_DIMS, *, seed=0):
    """Return a head over pictures of nine cells and texts of any length, in evaluation."""
    description = replace(
        description_of("attention", TWO),
        token_dims=token_dims,
        n_positions={name: N_CELLS for name in token_dims if name == "image"},
    )
    torch.manual_seed(seed)
    return build(description).eval()


def tokens_of(n_rows=24, *, seed=0, token_dims=TOKEN_DIMS, present=None):
    """Return the tokens of products: nine cells for each picture, one to five states for each text."""
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for name, dim in token_dims.items():
        counts = torch.full((n_rows,), N_CELLS) if name == "image" else torch.arange(n_rows) * 7 % 5 + 1
        if present is not None:
            counts = counts * present[name]
        values = torch.randn(int(counts.sum()), dim, generator=generator).half()
        tokens[name] = ProductTokens(values, torch.cumsum(counts, 0) - counts, counts)
    return tokens


def batches(tokens, rows=slice(None), length=None):
    return {name: states.take(rows).batch(length) for name, states in tokens.items()}


def with_padding(batch, value):
    return TokenBatch(torch.where(batch.is_there[:, :, None], batch.values, value), batch.is_there)


# Products and their tokens.


def test_a_batch_holds_each_products_tokens_and_says_what_is_padding():
    tokens = tokens_of()["text"]
    batch = tokens.take(torch.tensor([3, 0, 9, 3])).batch()
    assert batch.values.dtype == torch.float32
    assert batch.values.shape == (4, int(tokens.counts[[3, 0, 9]].max()), 6)
    for place, row in enumerate([3, 0, 9, 3]):
        start, count = int(tokens.starts[row]), int(tokens.counts[row])
        assert torch.equal(batch.values[place, :count], tokens.values[start : start + count].float())
        assert batch.is_there[place].tolist() == [n < count for n in range(batch.values.shape[1])]


def test_packed_tokens_are_the_same_and_no_others():
    tokens = tokens_of()["text"]
    packed = tokens.take(torch.tensor([5, 1, 5])).packed()
    assert len(packed.values) == int(tokens.counts[[5, 1, 5]].sum())
    mine, theirs = packed.batch(8), tokens.take(torch.tensor([5, 1, 5])).batch(8)
    assert torch.equal(with_padding(mine, 0.0).values, with_padding(theirs, 0.0).values)
    assert torch.equal(mine.is_there, theirs.is_there)


def test_products_that_share_a_text_share_its_tokens(tmp_path):
    """The third product has no text, and so no tokens; nothing is copied for the fourth."""
    states = [np.full((n + 1, 2), n) for n in range(4)]
    path = synthetic_cache(
        tmp_path / "c.h5",
        {"text": np.zeros((4, 3))},
        {},
        present={"text": np.array([True, True, False, True])},
        contents={"text": ["a", "b", "", "a"]},
        tokens={"text": states},
    )
    with Cache(path) as cache:
        tokens = load_tokens(cache, "text", "synthetic")
    assert tokens.counts.tolist() == [1, 2, 0, 1]
    assert len(tokens.values) == 3
    assert tokens.batch().values[1].tolist() == [[1, 1], [1, 1]]
    assert not tokens.batch().is_there[2].any()


def test_tokens_of_nobody_are_a_batch_of_padding():
    batch = ProductTokens(torch.zeros(0, 3).half(), torch.zeros(2).long(), torch.zeros(2).long()).batch(4)
    assert batch.values.shape == (2, 4, 3)
    assert not batch.is_there.any()


# Standardisation.


def test_tokens_are_standardised_by_the_distinct_contents_of_the_training_rows():
    states = tokens_of(20)["text"]
    states.values.mul_(3).add_(20)
    rows = torch.arange(12)
    shared = ProductTokens(states.values, states.starts.clone(), states.counts.clone())
    shared.starts[11], shared.counts[11] = states.starts[2], states.counts[2]  # a text that two products share
    standardise = Standardise({}, {"text": 6}).fit({}, {}, rows, tokens={"text": shared})
    seen = states.values[: int(states.counts[:11].sum())].double().numpy()  # (n, 6)
    expected = (states.batch().values.double().numpy() - seen.mean(0)) / seen.std(0, ddof=1)
    expected[~states.batch().is_there.numpy()] = 0
    standardised = standardise.tokens({"text": states.batch()})["text"]
    np.testing.assert_allclose(standardised.values.numpy(), expected, atol=2e-4)


def test_rows_that_are_not_for_training_do_not_count_for_the_tokens_statistics():
    states = tokens_of(20)["text"]
    changed = ProductTokens(states.values.clone(), states.starts, states.counts)
    changed.values[int(states.starts[12]) :] = 1000
    before, after = (
        Standardise({}, {"text": 6}).fit({}, {}, torch.arange(12), tokens={"text": tokens}).state_dict()
        for tokens in (states, changed)
    )
    assert before.keys() == {"token_mean_text", "token_scale_text"}
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_where_nobody_has_tokens_the_statistics_are_the_identity():
    nobody = ProductTokens(torch.zeros(0, 6).half(), torch.zeros(3).long(), torch.zeros(3).long())
    standardise = Standardise({}, {"text": 6}).fit({}, {}, torch.arange(3), tokens={"text": nobody})
    assert standardise.get_buffer("token_mean_text").tolist() == [0] * 6
    assert standardise.get_buffer("token_scale_text").tolist() == [1] * 6


# The head.


def test_attention_over_tokens_is_half_as_wide_and_the_option_says_so():
    description = replace(description_of("attention", TWO), hidden_dim=256)
    assert build(description).norm.weight.shape == (256,)
    assert build(replace(description, token_dims=TOKEN_DIMS)).norm.weight.shape == (128,)
    assert "of attention over tokens half of it" in " ".join(invoke(train_command, "--help").stdout.split())


@pytest.mark.parametrize("token_dims", [TOKEN_DIMS, {"image": 7}, {"text": 6}], ids="+".join)
def test_every_parameter_learns(token_dims):
    head = head_of(token_dims)
    tokens = tokens_of(token_dims=token_dims)

    class WithTokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, inputs, present):
            return self.head(inputs, present, batches(tokens))

    assert dead_parameters(WithTokens(), TWO) == []
    assert {name for name, _ in head.named_parameters()} <= head.state_dict().keys()


@pytest.mark.parametrize("token_dims", [TOKEN_DIMS, {"image": 7}, {"text": 6}], ids="+".join)
def test_an_answer_does_not_depend_on_the_rows_beside_it_nor_on_the_padding(token_dims):
    head, (inputs, present), tokens = head_of(token_dims), rows_of(TWO), tokens_of(token_dims=token_dims)
    answers = head(inputs, present, batches(tokens))
    assert answers.shape == (24, N_CLASSES)
    for rows in ([3], [0, 5, 10], list(range(23, -1, -1))):
        some = head(*take((inputs, present), rows), batches(tokens, rows))
        torch.testing.assert_close(some, answers[rows])
    torch.testing.assert_close(head(inputs, present, batches(tokens, length=13)), answers)


@pytest.mark.parametrize("value", [1e6, math.inf, math.nan])
def test_what_stands_in_the_padding_has_no_influence(value):
    head, (inputs, present), tokens = head_of(), rows_of(TWO), batches(tokens_of(), length=12)
    filled = {name: with_padding(batch, value) for name, batch in tokens.items()}
    assert torch.equal(head(inputs, present, filled), head(inputs, present, tokens))


def test_training_and_evaluation_compute_the_same():
    """In training the padding is left out before the projection; dropout is 0 here."""
    head, (inputs, present), tokens = head_of(), rows_of(TWO), batches(tokens_of(), length=12)
    answers = head(inputs, present, tokens)
    torch.testing.assert_close(head.train()(inputs, present, tokens), answers)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_every_token_changes_the_answer(modality):
    head, (inputs, present), tokens = head_of(), rows_of(TWO), batches(tokens_of())
    answers = head(inputs, present, tokens)
    for place in range(tokens[modality].values.shape[1]):
        values = tokens[modality].values.clone()
        values[:, place] += 1
        changed = head(inputs, present, {**tokens, modality: TokenBatch(values, tokens[modality].is_there)})
        has = tokens[modality].is_there[:, place]
        assert ((changed - answers).abs().amax(1) > 1e-6).tolist() == has.tolist(), place


def test_what_attention_finds_depends_on_the_tokens_that_ask():
    outputs = []
    head, (inputs, present), tokens = head_of(), rows_of(TWO), batches(tokens_of())
    head.attention.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    other = TokenBatch(tokens["image"].values.flip(0), tokens["image"].is_there)
    for image in (tokens["image"], other):
        head(inputs, present, {**tokens, "image": image})
    n_split = head.tokens["image"].n_tokens
    assert outputs[0].shape[1] == n_split + N_CELLS
    assert torch.equal(outputs[0][:, :n_split], outputs[1][:, :n_split])
    assert ((outputs[0] - outputs[1])[:, n_split:].abs().amax((1, 2)) > 1e-4).all()


def test_cells_of_a_map_have_positions_and_words_have_none():
    head, (inputs, present), tokens = head_of(), rows_of(TWO), batches(tokens_of())
    answers = head(inputs, present, tokens)
    image, text = tokens["image"], tokens["text"]
    turned = TokenBatch(image.values.flip(1), image.is_there.flip(1))
    assert ((head(inputs, present, {**tokens, "image": turned}) - answers).abs().amax(1) > 1e-6).all()
    turned = TokenBatch(text.values.flip(1), text.is_there.flip(1))
    torch.testing.assert_close(head(inputs, present, {**tokens, "text": turned}), answers)


@pytest.mark.parametrize("absent", [["image"], ["text"], ["image", "text"]])
def test_rows_without_a_modality_have_none_of_its_tokens_and_get_a_number(absent):
    inputs, present = rows_of(TWO)
    present = {name: torch.full((24,), name not in absent) for name in TWO}
    tokens = tokens_of(present=present)
    assert head_of()(inputs, present, batches(tokens, length=N_CELLS)).isfinite().all()


@pytest.mark.parametrize("absent", ["image", "text"])
@pytest.mark.parametrize("value", [0.0, 3.0, math.nan])
def test_tokens_of_an_absent_modality_are_not_looked_at_whatever_they_are(absent, value):
    head, (inputs, present), tokens = head_of(), rows_of(TWO), tokens_of()
    present = {**present, absent: torch.arange(24) % 2 == 0}
    batch, mask = batches(tokens)[absent], present[absent][:, None]
    filled = TokenBatch(torch.where(mask[:, :, None], batch.values, value), batch.is_there)
    without = TokenBatch(batch.values, batch.is_there & mask)
    answers = [head(inputs, present, {**batches(tokens), absent: side}) for side in (filled, without)]
    assert torch.equal(*answers)


def test_32_rows_can_be_learned_by_heart_from_the_tokens_alone():
    rows = np.arange(32)
    present = {name: torch.ones(32, dtype=torch.bool) for name in TWO}
    inputs = {name: torch.zeros(32, dim) for name, dim in TWO.items()}
    targets = torch.randint(N_CLASSES, (32,), generator=torch.Generator().manual_seed(3))
    task = Task(
        inputs=inputs, present=present, targets=targets, split=Split(train=rows, validation=rows, test=rows),
        tokens=tokens_of(32),
    )  # fmt: skip
    description = replace(description_of("attention", TWO), token_dims=TOKEN_DIMS, n_positions={"image": N_CELLS})
    settings = TrainSettings(max_epochs=40, patience=40, learning_rate=2e-2, weight_decay=0.0)
    head = fit(Job(description, task, settings)).module
    assert torch.equal(head(inputs, present, batches(task.tokens)).argmax(1), targets)


class OnDisk:
    """A matrix whose rows are read when they are asked for, as those of a large cache are."""

    def __init__(self, matrix):
        self.matrix, self.shape = matrix, matrix.shape

    def __getitem__(self, rows):
        return self.matrix[rows]


def test_tokens_stay_those_of_their_product_where_vectors_are_read_from_the_disk():
    """A window holds other rows than the task, at other places."""
    rows, n = np.arange(20, 60), 80
    generator = torch.Generator().manual_seed(4)
    present = {name: torch.ones(n, dtype=torch.bool) for name in TWO}
    inputs = {name: torch.randn(n, dim, generator=generator) for name, dim in TWO.items()}
    targets = torch.randint(N_CLASSES, (n,), generator=generator)
    split = Split(train=rows, validation=np.arange(60, 80), test=np.arange(20))
    task = Task(inputs=inputs, present=present, targets=targets, split=split, tokens=tokens_of(n))
    description = replace(description_of("attention", TWO), token_dims=TOKEN_DIMS, n_positions={"image": N_CELLS})
    on_disk = replace(task, inputs={name: OnDisk(matrix) for name, matrix in inputs.items()})
    from_memory, from_disk = (fit(Job(description, source, TrainSettings(max_epochs=3))) for source in (task, on_disk))
    assert from_memory.history == from_disk.history


@pytest.fixture
def batch_sizes(monkeypatch):
    """The places of every batch of tokens that is made, padding included."""
    sizes = []
    batch = ProductTokens.batch

    def watched(self, length=None):
        made = batch(self, length)
        sizes.append(made.is_there.numel())
        return made

    monkeypatch.setattr(ProductTokens, "batch", watched)
    return sizes


def test_memory_of_validation_is_bounded_however_many_tokens_a_row_has(batch_sizes):
    n, n_long = 320, 2000
    rows = np.arange(n)
    present = {name: torch.ones(n, dtype=torch.bool) for name in TWO}
    inputs = {name: torch.zeros(n, dim) for name, dim in TWO.items()}
    shared = ProductTokens(torch.zeros(n_long, 6).half(), torch.zeros(n, dtype=torch.int64), torch.full((n,), n_long))
    task = Task(
        inputs=inputs, present=present, targets=torch.arange(n) % N_CLASSES,
        split=Split(train=rows[:32], validation=rows[32:], test=rows[:0]), tokens={"text": shared},
    )  # fmt: skip
    description = replace(description_of("attention", TWO), token_dims={"text": 6})
    fit(Job(description, task, TrainSettings(max_epochs=1)))
    assert sum(batch_sizes) == n * n_long
    assert max(batch_sizes) <= MOST_POSITIONS


# From a cache to a run and back.

QUICK = TrainSettings(
    hidden_dim=64, max_epochs=8, patience=40, n_resamples=100, dropout=0.1, fusions=("early", "attention"),
    schedule="none",  # in so few epochs a rate that falls to nothing does not get there
    batch_size=128, learning_rate=4e-3,
)  # fmt: skip
N, N_SYMBOLS, N_VALUES = 800, 6, 3


def matching(path, *, n=N, seed=0, with_tokens=True):
    """Seal a cache of products whose label only tokens tell.

    A text's tokens are three symbols, each with a value of its own, and some fillers; a picture shows four symbols, one
    of them of the text's. The label is the value of that one. The means know all symbols and all values, and not
    which belong together.
    """
    generator = np.random.default_rng(seed)
    symbols = np.random.default_rng(99).standard_normal((N_SYMBOLS, 8))
    image, text, labels = [], [], []
    for _ in range(n):
        order = generator.permutation(N_SYMBOLS)
        named, others = order[:3], order[3:6]
        values = generator.permutation(N_VALUES)
        match = generator.integers(3)
        shown = generator.permutation([named[match], *others])
        words = np.concatenate([symbols[named], 2 * np.eye(N_VALUES)[values]], axis=1)  # (3, 11)
        fillers = np.zeros((generator.integers(4), 8 + N_VALUES))
        text.append(generator.permutation(np.concatenate([words, fillers])))
        image.append(symbols[shown])
        labels.append(f"value {values[match]}")
    tokens = {"image": image, "text": text}
    # A pooled vector is the mean over the tokens, but for the fillers, whose number would say nothing either.
    vectors = {
        "image": np.stack([states.mean(0) for states in image]),
        "text": np.stack([states.sum(0) / 3 for states in text]),
    }
    return synthetic_cache(path, vectors, {"label": labels}, tokens=tokens if with_tokens else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture(scope="module")
def cache_path(folder):
    return matching(folder / "c.h5")


@pytest.fixture(scope="module")
def report(folder, cache_path):
    return train(cache_path, settings=QUICK, runs_path=folder / "runs")


def test_attention_over_tokens_learns_what_pooled_vectors_do_not_hold(report):
    assert report.metrics["attention"]["accuracy"] > 0.9
    assert report.metrics["early"]["accuracy"] < 0.45
    assert report.metrics["text"]["accuracy"] < 0.45


def test_attention_over_split_vectors_does_not_learn_it(folder):
    """So it is the tokens that tell."""
    path = matching(folder / "without.h5", with_tokens=False)
    settings = replace(QUICK, fusions=("attention",), controls=())
    report = train(path, settings=settings, runs_path=folder / "runs")
    assert report.metrics["attention"]["accuracy"] < 0.45


def test_the_run_says_which_tokens_attention_looks_at(report):
    assert "attention looks at the tokens of image (4) and text (3 to 6)." in report.notes


def test_the_statistics_of_the_training_rows_tokens_are_part_of_the_head(cache_path, report):
    config = json.loads((report.run_path / "config.json").read_text(encoding="utf-8"))
    with Cache(cache_path) as cache:
        tokens, rows = cache.tokens("text"), cache.rows("text")
        row_of = dict(zip(cache.ids(), rows.tolist(), strict=True))
    seen = np.concatenate([tokens[row_of[product]] for product in config["split"]["train"]]).astype(np.float64)
    standardise = load_head(report.run_path / "attention").standardise
    np.testing.assert_allclose(standardise.get_buffer("token_mean_text"), seen.mean(0), atol=1e-5)
    np.testing.assert_allclose(standardise.get_buffer("token_scale_text"), seen.std(0, ddof=1), rtol=1e-4)


def test_tokens_are_not_read_where_no_attention_is_trained(cache_path, tmp_path, monkeypatch):
    monkeypatch.setattr(Cache, "tokens", lambda *_: pytest.fail("the tokens were read"))
    settings = replace(QUICK, max_epochs=1)
    train(cache_path, settings=replace(settings, fusions=("early", "late")), runs_path=tmp_path / "runs")
    alone = replace(settings, fusions=FUSIONS, modalities=("text",))
    train(cache_path, settings=alone, runs_path=tmp_path / "runs")


def test_a_loaded_head_answers_as_the_saved_one_to_the_bit(cache_path, report, tmp_path):
    head = load_head(report.run_path / "attention")
    with Cache(cache_path) as cache:
        vectors = head.vectors_of(cache)
    answers = head.probabilities(vectors)
    head.save(tmp_path, golden=vectors, golden_rows=np.arange(20))
    again = load_head(tmp_path / "attention")
    assert np.array_equal(again.probabilities(vectors), answers)
    assert again.description == head.description
    assert again.description.token_dims == {"image": 8, "text": 11}
    assert again.description.n_positions == {"image": 4}


def test_answers_are_those_of_the_runs_predictions(cache_path, report):
    result = invoke(predict, cache_path, "--run", report.run_path)
    assert result.exit_code == 0, result.stderr
    answered = {line.split(",")[0]: line.split(",")[8:] for line in result.stdout.splitlines()}  # each head's
    for line in (report.run_path / "predictions.csv").read_text(encoding="utf-8").splitlines()[1:]:
        product, _, *cells = line.split(",")
        assert answered[product] == cells


def test_an_answer_does_not_depend_on_which_other_rows_are_asked(cache_path, report):
    """To the bit, though one text among them is much longer than all others."""
    head = load_head(report.run_path / "attention")
    with Cache(cache_path) as cache:
        vectors = head.vectors_of(cache)
    inputs, present, tokens = vectors.inputs, vectors.present, dict(vectors.tokens)
    counts = tokens["text"].counts.clone()
    counts[7] = TOKEN_STEP + 3  # it goes on into the next ones' tokens
    tokens["text"] = replace(tokens["text"], counts=counts)
    answers = head.log_probabilities(inputs, present, tokens)
    shuffled = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    for rows in (torch.arange(7, 8), torch.arange(300), torch.arange(N - 100, N), shuffled):
        some = head.log_probabilities(
            {name: matrix[rows] for name, matrix in inputs.items()},
            {name: mask[rows] for name, mask in present.items()},
            {name: states.take(rows) for name, states in tokens.items()},
        )
        assert torch.equal(some, answers[rows])
    assert head.log_probabilities(
        {name: matrix[:0] for name, matrix in inputs.items()},
        {name: mask[:0] for name, mask in present.items()},
        {name: states.take(slice(0)) for name, states in tokens.items()},
    ).shape == (0, N_VALUES)


def test_memory_of_answers_is_bounded_however_many_tokens_a_row_has(cache_path, report, batch_sizes):
    """And how many rows are answered together follows from the row's own tokens, so that the answer does, too."""
    head = load_head(report.run_path / "attention")
    with Cache(cache_path) as cache:
        vectors = head.vectors_of(cache)
    long = ProductTokens(
        vectors.tokens["text"].values, torch.zeros(N, dtype=torch.int64), 1 + 400 * (torch.arange(N) % 3)
    )

    def answered(rows):
        inputs, present = (
            {name: every[rows] for name, every in side.items()} for side in (vectors.inputs, vectors.present)
        )
        tokens = {name: states.take(rows) for name, states in {**vectors.tokens, "text": long}.items()}
        return head.log_probabilities(inputs, present, tokens)

    answers = answered(torch.arange(N))
    assert max(batch_sizes) <= MOST_POSITIONS
    for rows in (torch.arange(7, 8), torch.arange(500, 800), torch.arange(2, N, 3)):
        assert torch.equal(answered(rows), answers[rows])


def test_a_head_of_tokens_refuses_vectors_without_them(cache_path, report):
    head = load_head(report.run_path / "attention")
    with Cache(cache_path) as cache:
        vectors = load_vectors(cache, encoders=dict.fromkeys(("image", "text")))
        with_other = load_vectors(cache, encoders=dict.fromkeys(("image", "text")), tokens_of=["image", "text"])
    with pytest.raises(HeadError, match="image tokens of 8 dimensions .*, but there are vectors alone"):
        head.probabilities(vectors)
    with_other.tokens["image"] = with_other.tokens["text"]
    with pytest.raises(HeadError, match="image tokens of 8 dimensions .*, but these have 11"):
        head.probabilities(with_other)


@pytest.mark.parametrize("n_rows", [10, 30])
def test_tokens_of_another_number_of_products_than_the_vectors_are_refused(cache_path, report, n_rows):
    """Else rows without tokens would be answered by whatever stood in memory."""
    head = load_head(report.run_path / "attention")
    with Cache(cache_path) as cache:
        vectors = head.vectors_of(cache)
    inputs, present = ({name: every[:20] for name, every in side.items()} for side in (vectors.inputs, vectors.present))
    tokens = {name: states.take(torch.arange(n_rows)) for name, states in vectors.tokens.items()}
    with pytest.raises(HeadError, match=f"as many products as the vectors, 20, got those of {n_rows}"):
        head.log_probabilities(inputs, present, tokens)


def test_a_cache_without_the_tokens_is_refused_by_name(folder, report):
    """By its spec as an encoder writes it, and by its tables where the spec says otherwise."""
    head = load_head(report.run_path / "attention")
    path = matching(folder / "plain.h5", n=20, with_tokens=False)
    with Cache(path) as cache:
        with pytest.raises(HeadError, match="synthetic differs in tokens"):
            head.vectors_of(cache)
        specs = {name: cache.spec(name, "synthetic") for name in TWO}
        with pytest.raises(HeadError, match=r"the tokens of image/synthetic, which .* --tokens"):
            replace(head, specs=specs).vectors_of(cache)
        with pytest.raises(MissingEntryError, match="image/synthetic to have tokens"):
            load_vectors(cache, encoders=dict.fromkeys(TWO), tokens_of=["image"])
    result = invoke(predict, path, "--run", report.run_path)
    assert result.exit_code == 1
    assert "differs in tokens" in result.stderr


def rewritten(run_path, folder, *, description=None, edit=dict.copy):
    """Write the run's attention with another description or other tensors, all digests right; return its path."""
    path = folder / "attention"
    tensors = load_file(run_path / "attention.safetensors")
    edit(tensors)
    save_file(tensors, path.with_suffix(".safetensors"))
    about = json.loads((run_path / "attention.json").read_text(encoding="utf-8"))
    del about["sha256"]
    about["description"] |= description or {}
    about["weights_sha256"] = hashlib.sha256(path.with_suffix(".safetensors").read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(about | {"sha256": fields_sha256(about)}), encoding="utf-8")
    return path


def test_a_head_rewritten_as_it_was_is_loaded(report, tmp_path):
    assert load_head(rewritten(report.run_path, tmp_path)).name == "attention"


@pytest.mark.parametrize(
    "change",
    [
        {"token_dims": {}}, {"token_dims": {"text": 11}}, {"n_positions": {}}, {"token_dims": 3},
        {"n_attention_heads": 0}, {"n_positions": {"image": 2**70}}, {"n_positions": {"image": -4}},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_that_does_not_fit_the_weights_is_refused(report, tmp_path, change):
    with pytest.raises(HeadError, match="to be a head of embed-once"):
        load_head(rewritten(report.run_path, tmp_path, description=change))


def test_tokens_of_a_modality_that_the_head_does_not_have_are_refused(report, tmp_path):
    """All else may fit, down to the golden rows."""

    def add_audio(tensors):
        for name in [name for name in tensors if "text" in name and ("token" in name or "states" in name)]:
            tensors[name.replace("text", "audio")] = tensors[name].clone()

    path = rewritten(
        report.run_path, tmp_path, description={"token_dims": {"image": 8, "text": 11, "audio": 11}}, edit=add_audio
    )
    with pytest.raises(HeadError, match="its own modalities, image, text, but got those of audio"):
        load_head(path)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("values", lambda tensor: tensor.flatten()),
        ("values", lambda tensor: tensor.float()),
        ("values", lambda tensor: tensor[:-1]),
        ("values", lambda tensor: tensor[:0]),
        ("starts", lambda tensor: tensor - 1),
        ("starts", lambda tensor: tensor + 1),
        ("starts", lambda tensor: tensor.fill_(2**63 - 1)),
        ("starts", lambda tensor: tensor.int()),
        ("starts", lambda tensor: tensor[0]),
        ("starts", lambda tensor: tensor[:-1]),
        ("counts", lambda tensor: tensor.fill_(5_000_000)),
        ("counts", lambda tensor: tensor.fill_(2**63 - 1)),
        ("counts", lambda tensor: tensor - 100),
        ("counts", lambda tensor: tensor.double()),
        ("counts", lambda tensor: tensor[:, None]),
    ],
)
def test_golden_tokens_that_are_none_are_refused_before_they_are_looked_at(
    report, tmp_path, monkeypatch, field, change
):
    def edit(tensors):
        name = f"golden.tokens.{field}.text"
        tensors[name] = change(tensors[name]).contiguous()

    monkeypatch.setattr(ProductTokens, "batch", lambda *_: pytest.fail("they were looked at"))
    with pytest.raises(HeadError, match=r"tokens to be \(T, D\) float16"):
        load_head(rewritten(report.run_path, tmp_path, edit=edit))


def test_golden_tokens_of_too_few_products_are_refused(report, tmp_path):
    def edit(tensors):
        for field in ("starts", "counts"):
            tensors[f"golden.tokens.{field}.text"] = tensors[f"golden.tokens.{field}.text"][1:].clone()

    with pytest.raises(HeadError, match="as many products as the vectors, 8, got those of 7"):
        load_head(rewritten(report.run_path, tmp_path, edit=edit))


def test_more_golden_tokens_than_a_content_may_have_are_refused(report, tmp_path):
    def edit(tensors):
        tensors["golden.tokens.values.text"] = torch.zeros(MOST_TOKENS + 1, 11).half()
        tensors["golden.tokens.starts.text"].zero_()
        tensors["golden.tokens.counts.text"].fill_(MOST_TOKENS + 1)

    with pytest.raises(HeadError, match="up to 65536 of these T"):
        load_head(rewritten(report.run_path, tmp_path, edit=edit))
