"""Packing: texts stand together with little padding, and the last layer is computed for [CLS] alone."""

import random

import numpy as np
import pytest
import torch
import transformers

from embed.encoders.first_token import FirstTokenLayer, keep_first_token
from embed.encoders.packing import pack


@pytest.mark.parametrize("seed", range(5))
def test_each_text_is_in_one_group_and_no_group_has_too_many_tokens(seed):
    draw = random.Random(seed)
    lengths = [draw.randint(1, 60) for _ in range(300)]
    groups = pack(lengths, least_tokens=100, most_tokens=400)
    assert sorted(number for group in groups for number in group) == list(range(300))
    assert all(len(group) * max(lengths[number] for number in group) <= 400 for group in groups)


def test_many_texts_of_one_length_need_no_padding():
    lengths = [length for length in (5, 9, 12) for _ in range(50)]
    groups = pack(lengths, least_tokens=100, most_tokens=1000)
    assert [{lengths[number] for number in group} for group in groups] == [{5}, {9}, {12}]


def test_few_short_texts_share_a_group():
    assert pack([3, 4, 5, 6], least_tokens=100, most_tokens=1000) == [[0, 1, 2, 3]]


def test_a_text_longer_than_a_group_may_be_stands_alone():
    assert pack([2, 500, 2], least_tokens=10, most_tokens=100) == [[0, 2], [1]]
    assert pack([], least_tokens=10, most_tokens=100) == []


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
KINDS = [
    (transformers.BertConfig, transformers.BertModel),
    (transformers.RobertaConfig, transformers.RobertaModel),
    (transformers.XLMRobertaConfig, transformers.XLMRobertaModel),
    (transformers.CamembertConfig, transformers.CamembertModel),
    (transformers.ElectraConfig, transformers.ElectraModel),
]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("is_padded", [True, False])
@pytest.mark.parametrize(("config", "kind"), KINDS)
@torch.inference_mode()
def test_the_first_token_alone_is_the_first_token_of_all(config, kind, is_padded, attention):
    torch.manual_seed(0)
    model = kind(config(vocab_size=200, **SIZES, attn_implementation=attention)).eval()
    ids = torch.randint(5, 200, (6, 9))
    mask = (torch.arange(9) < torch.tensor([9, 3, 1, 9, 5, 2])[:, None]).long() if is_padded else None
    whole = model(input_ids=ids, attention_mask=mask).last_hidden_state
    keep_first_token(model)
    assert isinstance(model.encoder.layer[-1], FirstTokenLayer)
    alone = model(input_ids=ids, attention_mask=mask).last_hidden_state
    assert alone.shape == (6, 1, 32)
    np.testing.assert_allclose(alone[:, 0], whole[:, 0], rtol=1e-4, atol=1e-5)


def test_a_model_of_another_kind_stays_as_it_is():
    model = transformers.DistilBertModel(
        transformers.DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4, hidden_dim=48)
    )
    layer = model.transformer.layer[-1]
    keep_first_token(model)
    assert model.transformer.layer[-1] is layer
