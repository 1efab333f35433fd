"""Products of a cache are found by their ids as they stand there, in memory or on the disk, and compared exactly."""

import numpy as np
import pytest
from support import class_vectors, synthetic_cache

from cache import Cache
from heads.modules.saving.head_set import vectors_for
from heads.runs.folder import load_heads
from heads.serving import cached_products
from heads.serving.cached_products import CachedProducts
from heads.serving.similar_products import most_similar
from heads.settings import TrainSettings
from heads.workflows.train import train

pytestmark = pytest.mark.slow

N = 80
ROWS = [7, 0, 11, 11, 79]
HAS = {"image": np.arange(N) % 7 != 0, "text": np.arange(N) % 11 != 0}  # rows 0 and 77 have nothing


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cache with token states of its texts, and heads that look at them."""
    folder = tmp_path_factory.mktemp("tokens")
    targets = np.arange(N) % 2
    generator = np.random.default_rng(0)
    vectors = {"image": class_vectors(targets, 6, seed=1), "text": class_vectors(targets, 5, seed=2)}
    states = [generator.standard_normal((1 + n % 4, 3)) for n in range(N)]
    columns = {"label": [f"class {code}" for code in targets], "size": [f"{n % 3}" for n in range(N)]}
    names = {"image": [f"picture {n // 2}" for n in range(N)], "text": [f"text {n}" for n in range(N)]}
    path = synthetic_cache(
        folder / "c.h5", vectors, columns, present=HAS, contents=names, tokens={"text": states}
    )  # fmt: skip
    settings = TrainSettings(
        fusions=("attention",),
        metadata_columns=("size",),
        hidden_dim=8,
        max_epochs=1,
        n_resamples=100,
    )
    run_path = train(path, settings=settings, runs_path=folder / "runs").run_path
    return path, list(load_heads(run_path).values())


@pytest.fixture(params=["memory", "disk"])
def products(trained, request, monkeypatch):
    if request.param == "disk":
        monkeypatch.setattr(cached_products, "MOST_IN_MEMORY_BYTES", 0)
    path, heads = trained
    with Cache(path) as cache:
        yield CachedProducts(heads, cache)


def test_statuses_are_read_once(trained, monkeypatch):
    """Also where some products have no vector, of which it is asked why."""
    path, heads = trained
    read, status_column = [], Cache.status_column
    monkeypatch.setattr(Cache, "status_column", lambda cache, name: (read.append(name), status_column(cache, name))[1])
    with Cache(path) as cache:
        CachedProducts(heads, cache)
    assert sorted(read) == ["image", "text"]


def test_products_have_the_vectors_tokens_and_statuses_of_the_cache(products, trained):
    _, heads = trained
    vectors, statuses = products.vectors(ROWS)
    expected = vectors_for(heads, products.cache)
    assert heads[-1].description.token_dims == {"text": 3}
    for name in expected.inputs:
        np.testing.assert_array_equal(vectors.inputs[name], expected.inputs[name][ROWS])
        np.testing.assert_array_equal(vectors.present[name], expected.present[name][ROWS])
    for one, other in zip(vectors.tokens["text"].counts, expected.tokens["text"].counts[ROWS], strict=True):
        assert one == other
    np.testing.assert_array_equal(
        vectors.tokens["text"].packed().values, expected.tokens["text"].take(np.array(ROWS)).packed().values
    )
    assert statuses[1] == {"image": "absent", "text": "absent", "metadata": "ok"}
    assert statuses[4] == {"image": "ok", "text": "ok", "metadata": "ok"}
    for head in heads:
        np.testing.assert_allclose(head.probabilities(vectors), head.probabilities(expected)[ROWS], atol=1e-6)


def test_nearest_are_found_among_all_contents_block_by_block(products, monkeypatch):
    monkeypatch.setattr(cached_products, "BLOCK_ROWS", 7)
    matrices = {name: products.cache.matrix(name) for name in ("image", "text")}
    query = {name: matrix[3] for name, matrix in matrices.items()}
    with np.errstate(invalid="ignore"):
        cosines = np.stack(
            [
                matrix @ query[name] / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query[name])
                for name, matrix in matrices.items()
            ]
        )
    has = ~np.isnan(cosines)
    means = np.where(has, cosines, 0).sum(0) / np.maximum(has.sum(0), 1)
    means[~has.any(0) | (np.arange(N) == 3)] = -np.inf
    expected = np.argsort(-means, kind="stable")[:N].tolist()
    for n in (1, 5, N, 100):
        nearest = most_similar(products.tables, query, n=n, excluded_row=3)
        assert len(nearest) == min(n, N - 3)  # two have nothing, one is the query
        np.testing.assert_allclose([value for _, value in nearest], means[expected][: len(nearest)], atol=1e-6)
    assert most_similar(products.tables, query, n=1)[0] == (3, pytest.approx(1))
    assert products.row("00007") == 7
    assert products.row("7") is None


def test_a_warning_of_the_library_that_multiplies_is_not_passed_on(products, monkeypatch):
    """OpenBLAS has given it of finite vectors, which no input brings about; infinity less infinity does."""
    query = {name: products.cache.matrix(name)[3] for name in ("image", "text")}
    plain = cached_products.VectorTable._block

    def warning(table, *arguments):
        block = plain(table, *arguments).copy()
        block[-1] = np.where(np.arange(block.shape[1]) % 2, -np.inf, np.inf) * np.sign(query[table.modality])
        return block

    monkeypatch.setattr(cached_products.VectorTable, "_block", warning)
    cosines = products.tables["text"].cosines(query["text"])
    assert cosines[3] == pytest.approx(1)
    assert np.isnan(cosines[-1])
