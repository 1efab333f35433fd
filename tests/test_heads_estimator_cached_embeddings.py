"""`CachedEmbeddings` in the hands of scikit-learn: pipelines, folds, grids; each content is encoded once."""

import logging
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from support import CountingEncoder, image_bytes, vector_of
from tiny_models import TEXT, write_two_towers

import embed
import heads
from embed.encoders.huggingface_text import TextEncoder
from embed.extraction.in_memory import product_vectors
from heads.estimator.input_columns import named_modalities

pytestmark = pytest.mark.slow

TITLES = [f"{'red' if n % 2 else 'blue'} shirt {n}" for n in range(24)]
LABELS = np.array(["odd" if n % 2 else "even" for n in range(24)])


class SharedEncoder(CountingEncoder):
    """An encoder whose copies count together, since scikit-learn copies what estimators are made of."""

    counts = {"image": 0, "text": 0}  # noqa: RUF012 - shared on purpose

    def encode(self, batch):
        self.counts[self.spec.modality] += len(batch)
        return np.stack([self.vector(item) for item in batch])

    def vector(self, item):
        vector = vector_of(item, self.dim)
        vector[0] = 9 * (b"red" in item)
        return vector


@pytest.fixture
def counts():
    SharedEncoder.counts.update(image=0, text=0)
    return SharedEncoder.counts


@pytest.fixture
def products(tmp_path):
    """24 products, each with a picture and a title of its own, but for three pictures that are missing."""
    for n in range(21):
        (tmp_path / f"{n}.png").write_bytes(image_bytes((n, 9, 9)))
    paths = [str(tmp_path / f"{n}.png") for n in range(24)]
    return pd.DataFrame({"id": range(100, 124), "image": paths, "title": TITLES, "price": 1.5}, index=range(50, 74))


def embeddings(path, *modalities, **settings):
    return heads.CachedEmbeddings(
        path / "c.h5",
        settings=embed.ExtractSettings(allow_outside=True, **settings),
        encoders=[SharedEncoder(modality, dim={"image": 3, "text": 4}[modality]) for modality in modalities],
    )


def test_vectors_stand_side_by_side_under_names_and_missing_ones_are_nan(tmp_path, products, counts, caplog):
    transformer = embeddings(tmp_path, "image", "text")
    with caplog.at_level(logging.WARNING):
        frame = transformer.fit_transform(products)
    assert "3 of 24 products have no image vector: missing 3." in caplog.text
    assert frame.columns.tolist() == [*(f"image__{n}" for n in range(3)), *(f"text__{n}" for n in range(4))]
    assert frame.index.equals(products.index)
    assert frame.dtypes.unique() == [np.float32]
    assert frame["image__0"].isna().sum() == 3
    assert np.array_equal(frame.iloc[:, 3:].to_numpy()[5], transformer.encoders[1].vector(TITLES[5].encode()))
    assert transformer.modalities_ == {"image": 3, "text": 4}
    assert transformer.statuses(products)["image"].tolist() == ["ok"] * 21 + ["missing"] * 3
    assert counts == {"image": 21, "text": 24}
    assert transformer.set_output(transform="pandas").transform(products[:1]).equals(frame[:1])
    only = transformer.transform(products[-1:])  # one product without a picture is no error
    assert only.isna().to_numpy().tolist() == [[True] * 3 + [False] * 4]
    assert counts == {"image": 21, "text": 24}


def test_pipeline_with_a_fusion_needs_no_word_of_modalities(tmp_path, products, counts):
    classifier = heads.FusionClassifier(fusion="late", random_state=0, max_epochs=5)
    pipeline = make_pipeline(embeddings(tmp_path, "image", "text"), classifier).fit(products, LABELS)
    assert pipeline[-1].modalities_ == {"image": 3, "text": 4}
    assert pipeline.predict_proba(products[-2:]).shape == (2, 2)
    again = pickle.loads(pickle.dumps(pipeline))  # noqa: S301 - our own
    assert np.array_equal(again.predict_proba(products), pipeline.predict_proba(products))
    assert counts == {"image": 21, "text": 24}


def test_folds_shuffles_and_clones_encode_each_content_once(tmp_path, products, counts):
    pipeline = make_pipeline(clone(embeddings(tmp_path, "text")), LogisticRegression())
    for seed in (0, 1):
        folds = KFold(3, shuffle=True, random_state=seed)
        assert cross_val_score(pipeline, products, LABELS, cv=folds).tolist() == [1, 1, 1]
        assert counts["text"] == 24
    grid = {"logisticregression__C": [0.1, 1], "cachedembeddings__settings": [embed.ExtractSettings(clean_text=True)]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(products.sample(frac=1, random_state=0), np.roll(LABELS, 1))
    assert len(search.cv_results_["params"]) == 2
    assert counts["text"] == 24  # cleaned titles are the same texts here


def test_a_second_transform_loads_no_model(tmp_path, products, monkeypatch):
    """Neither in a new process, which has no encoder yet, nor in this one."""
    settings = _tiny(tmp_path)
    first = heads.CachedEmbeddings(tmp_path / "c.h5", settings=settings).fit_transform(products)
    product_vectors._teams.cache_clear()
    monkeypatch.setattr(TextEncoder, "model", property(lambda _: pytest.fail("the model was loaded")))
    again = heads.CachedEmbeddings(tmp_path / "c.h5", settings=settings).fit(products)
    assert again.transform(products[::-1]).equals(first[::-1])
    assert first.shape == (24, TEXT["hidden_size"])


def test_beside_other_columns_in_a_column_transformer(tmp_path, products, counts):
    columns = ColumnTransformer([("text", embeddings(tmp_path, "text"), ["title"]), ("rest", "passthrough", ["price"])])
    assert columns.fit_transform(products).shape == (24, 5)
    assert columns.get_feature_names_out()[[0, 4]].tolist() == ["text__text__0", "rest__price"]
    assert counts == {"image": 0, "text": 24}


def test_lists_of_texts_need_no_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = SharedEncoder("text")
    frame = heads.CachedEmbeddings(tmp_path / "c.h5", encoders=[encoder]).fit_transform(TITLES)
    assert frame.shape == (24, 4)
    with pytest.raises(embed.CatalogueError, match="column of images"):
        heads.CachedEmbeddings(tmp_path / "c.h5").fit([{"colour": "red"}])


def test_a_modality_that_no_product_has_is_an_error(tmp_path, products):
    with pytest.raises(heads.HeadError, match=r"vectors of image, got none.*modalities"):
        embeddings(tmp_path, "image", "text").fit(products[-3:])


def test_several_encoders_of_a_modality_are_modalities_of_their_own(tmp_path):
    encoders = [CountingEncoder("text", name="a.b", dim=2), CountingEncoder("text", name="c", dim=3)]
    transformer = heads.CachedEmbeddings(tmp_path / "c.h5", encoders=encoders).fit(TITLES)
    assert transformer.modalities_ == {"text_a_b": 2, "text_c": 3}


def test_names_that_are_not_blocks_declare_no_modalities():
    assert _named("a__0", "a__1", "b__0") == {"a": 2, "b": 1}
    for names in (["a__0", "a__1"], ["a__0", "b__0", "a__1"], ["a__0", "b__0", "c"], ["__0", "a__0"]):
        assert _named(*names) is None
    for names in (["a__0", "a__0", "b__0"], ["a__x", "b__0"], ["a__0", "rest__b__price"]):
        assert _named(*names) is None
    assert named_modalities(np.zeros((2, 2))) is None


def test_columns_that_are_left_out_leave_the_modalities_what_they_are():
    assert _named("a__1", "a__5", "b__3", "b__2", "b__0") == {"a": 2, "b": 3}
    columns = [*(f"image__{number}" for number in range(3)), *(f"text__{number}" for number in range(3))]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 6)), columns=columns)
    select = SelectKBest(k=4).set_output(transform="pandas")
    frame["image__0"] += 9 * (LABELS == "odd")
    frame["text__2"] += 9 * (LABELS == "odd")
    fitted = make_pipeline(select, heads.FusionClassifier("late", random_state=0, max_epochs=1)).fit(frame, LABELS)
    kept = select.get_feature_names_out()
    assert fitted[-1].modalities_ == {
        name: sum(column.startswith(name) for column in kept) for name in ("image", "text")
    }


def _named(*names):
    return named_modalities(pd.DataFrame(np.zeros((2, len(names))), columns=list(names)))


def _tiny(folder):
    write_two_towers(folder / "clip", "siglip")
    return embed.ExtractSettings(
        modalities=("text",), text_encoder=str(folder / "clip"), max_length=8, device="cpu", n_workers=1
    )
