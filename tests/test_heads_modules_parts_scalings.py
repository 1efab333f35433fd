"""Each scaling is what its plain formula says, follows from the training rows alone, and is saved with the head."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import heads.modules.parts.scalings
from cache.keys import fields_sha256
from heads.errors import HeadError, SettingError
from heads.modules.parts.scalings import SCALINGS
from heads.modules.parts.standardiser import Standardise
from heads.modules.saving.saved_head import load_head
from heads.settings import FitSettings

GOLDEN = Path(__file__).parent / "golden"
N_ROWS, DIM = 60, 6
TRAIN = torch.arange(40)


def drawn():
    """Return correlated vectors that some rows lack."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIM, DIM, generator=generator)
    matrix = 3 + torch.randn(N_ROWS, DIM, generator=generator) @ mixing
    present = torch.arange(N_ROWS) % 9 != 4
    return {"image": matrix.where(present[:, None], torch.tensor(0.0))}, {"image": present}


def scaled(name, inputs, present, **options):
    return Standardise({"image": DIM}, scaling=name).fit(inputs, present, TRAIN, **options)(inputs, present)["image"]


def plain(name, matrix, rows):
    """Return the vectors scaled by the formulas, in float64 with NumPy."""
    mean = rows.mean(0)
    if name == "z-score":
        return (matrix - mean) / rows.std(0, ddof=1)
    if name == "none":
        return matrix
    if name == "l2":
        return (matrix - mean) / np.linalg.norm(matrix - mean, axis=1, keepdims=True) * DIM**0.5
    _, sizes, axes = np.linalg.svd(rows - mean, full_matrices=False)
    deviations = sizes[:DIM] / len(rows) ** 0.5
    return (matrix - mean) @ axes.T / deviations @ axes


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_its_formula_and_absent_rows_are_zeros(name):
    inputs, present = drawn()
    mask = present["image"]
    matrix = inputs["image"].double().numpy()
    expected = plain(name, matrix, matrix[TRAIN][mask[TRAIN]])
    found = scaled(name, inputs, present)
    np.testing.assert_allclose(found[mask], expected[mask], atol=2e-4)
    assert not found[~mask].any()


def test_whitening_keeps_so_many_components_with_entries_of_order_one(monkeypatch):
    monkeypatch.setattr(heads.modules.parts.scalings, "MOST_COMPONENTS", 2)
    inputs, present = drawn()
    found = scaled("pca", inputs, present)[TRAIN][present["image"][TRAIN]]
    covariance = np.cov(found.double().numpy().T, bias=True)
    np.testing.assert_allclose(np.linalg.eigvalsh(covariance), [0, 0, 0, 0, 3, 3], atol=1e-3)
    assert float(found.square().mean()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_weight_of_2_is_the_row_twice_and_other_rows_change_nothing(name):
    inputs, present = drawn()
    counts = torch.ones(N_ROWS, dtype=torch.float64)
    counts[::3] = 2
    twice = torch.cat([torch.arange(N_ROWS), torch.arange(0, N_ROWS, 3)])
    rows = {"image": inputs["image"][twice]}, {"image": present["image"][twice]}
    train = torch.nonzero(twice < len(TRAIN))[:, 0]
    repeated = Standardise({"image": DIM}, scaling=name).fit(*rows, train)
    inputs["image"][len(TRAIN) :] += 100
    weighted = Standardise({"image": DIM}, scaling=name).fit(inputs, present, TRAIN, weights=counts)
    assert weighted.state_dict().keys() == repeated.state_dict().keys()
    some = {"image": torch.randn(5, DIM)}, {"image": torch.ones(5, dtype=torch.bool)}
    torch.testing.assert_close(weighted(*some)["image"], repeated(*some)["image"], atol=1e-4, rtol=1e-4)


def test_whitening_of_fewer_rows_than_dimensions_is_finite_and_spans_these_alone():
    inputs, present = drawn()
    standardise = Standardise({"image": DIM}, scaling="pca").fit(inputs, present, torch.arange(3))
    components = standardise.get_buffer("components_image")
    assert int((components.norm(dim=1) > 0).sum()) == 2
    assert standardise(inputs, present)["image"].isfinite().all()


def test_a_part_is_scaled_alike():
    inputs, present = drawn()
    both = Standardise({"image": DIM, "text": 2}, scaling="l2")
    both.get_buffer("mean_image").fill_(1.0)
    two = {**inputs, "text": torch.ones(N_ROWS, 2)}, {**present, "text": present["image"]}
    assert torch.equal(both.part(["image"])(inputs, present)["image"], both(*two)["image"])


def test_a_head_of_version_4_answers_as_it_did():
    head = load_head(GOLDEN / "head_v4" / "early")
    assert head.description.scaling == head.standardise.scaling == "z-score"


def test_a_head_of_version_5_answers_as_it_did():
    head = load_head(GOLDEN / "head_v5" / "early")
    assert head.standardise.scaling == "pca"
    assert "components_image" in head.standardise.state_dict()


def test_a_head_of_a_scaling_that_is_not_known_is_refused(tmp_path):
    shutil.copytree(GOLDEN / "head_v5", tmp_path / "head")
    path = tmp_path / "head" / "early.json"
    about = json.loads(path.read_text())
    about["description"]["scaling"] = "magic"
    about.pop("sha256")
    path.write_text(json.dumps(about | {"sha256": fields_sha256(about)}))
    with pytest.raises(HeadError, match="magic"):
        load_head(tmp_path / "head" / "early")


def test_a_scaling_that_is_none_is_a_named_error():
    with pytest.raises(SettingError, match="--scaling: expected z-score, none, l2, pca, got L2"):
        FitSettings(scaling="L2")
