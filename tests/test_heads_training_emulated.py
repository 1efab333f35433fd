"""Heads on an emulated accelerator: the CPU's numbers, and no tensor of theirs on the wrong side."""

import emulated_heads
import numpy as np
import pytest
from support import BY_STEPS, CONTROLS, DIRECT, class_vectors, synthetic_cache

pytestmark = pytest.mark.slow

STEPWISE = ("image", *(name for name in BY_STEPS if name != "late"))  # late fusion is made of such: whole runs have it
CHANGES = {
    "learned absence": {"absent": "learned"},
    "modality dropout": {"modality_dropout": 0.3},
    "balanced": {"class_weights": "balanced"},
    "own class weights": {"class_weights": (1.0, 2.0, 0.5)},
    "adjusted": {"logit_adjustment": 1.0},
    "15 a class": {"per_class": "15"},
    "cosine": {"schedule": "cosine", "warmup": 1.5},
    "the last epoch": {"keep": "last"},
    "from the disk": {"on_disk": True},
}
MOST = 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", STEPWISE)
def test_a_stack_learns_on_the_device_what_it_learns_on_the_cpu(name, dtype, emulated):
    assert emulated(emulated_heads.difference_of_fits, name, dtype=dtype) < MOST


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_so_it_does_whatever_is_set(changes, emulated):
    assert emulated(emulated_heads.difference_of_fits, "early", **changes) < MOST


@pytest.mark.parametrize("changes", [{}, {"absent": "learned"}, {"on_disk": True}], ids=str)
def test_attention_over_tokens_is_the_same(changes, emulated):
    assert emulated(emulated_heads.difference_of_fits, "attention", tokens=True, **changes) < MOST


def test_a_class_of_the_users_own_is_trained_there(emulated):
    assert emulated(emulated_heads.difference_of_fits, "user_heads:Usual") < MOST


@pytest.mark.parametrize("name", DIRECT)
def test_a_head_that_is_fitted_at_once_is_the_same(name, emulated):
    changes = {} if name == "majority" else {"class_weights": "balanced"}
    assert emulated(emulated_heads.difference_of_fits, name, **changes) < MOST


def test_a_whole_training_predicts_the_same(emulated, tmp_path):
    """Late fusion, its fitted weights, guards and controls; and the heads that are saved can be loaded."""
    targets = np.random.default_rng(0).integers(3, size=140)
    vectors = {name: class_vectors(targets, dim, spread=2.0, seed=dim) for name, dim in (("image", 8), ("text", 6))}
    cache = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in targets]})
    changes = {"weights": "auto", "guard": True, "controls": CONTROLS}
    assert emulated(emulated_heads.difference_of_runs, cache, tmp_path, **changes) < MOST


def test_a_head_that_makes_a_tensor_on_the_cpu_is_found(emulated):
    """The emulation can fail."""
    error = emulated(emulated_heads.error_of_a_lost_head)
    assert "Lost" in error
    assert "must have all tensors on emulated:0" in error


def test_so_is_what_the_cpu_computes_and_cuda_does_not(emulated):
    layouts, *products = emulated(emulated_heads.errors_of_what_cuda_lacks)
    assert "must have one layout" in layouts
    assert all("must have tensors of fractions" in error for error in products)
    assert len(products) == 2
