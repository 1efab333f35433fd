"""Names of classes are found by their keys, in the space of a text encoder, or of an image encoder with two towers."""

import numpy as np
import pytest
from support import vector_of

from cache import Cache, Contents, EncoderSpec, Journal, Part, Products, content_key, seal
from heads.data.class_names import find_class_names

CLASSES = ["Hats", "Odd one", "Shirts"]
NETWORK = {"architecture": "CLIP", "config": "sha256:1", "weights": "sha256:2"}
IMAGES = EncoderSpec("image", {**NETWORK, "vector": "image features"})
TEXTS = EncoderSpec("text", {**NETWORK, "pooling": "text features", "max_length": 7})
PLAIN = EncoderSpec("text", {"weights": "plain"})


@pytest.fixture
def cache_of(tmp_path):
    """Return a function that seals and opens a cache of encoders (name, spec, texts), each with vectors of its own."""

    def make(*encoders, cells=("",)):
        path = tmp_path / "c.h5"
        with Journal(path) as journal:
            for name, spec, texts in encoders:
                vectors = np.stack([vector_of((name + text).encode(), 3) for text in texts])
                keys = [content_key(text.encode()) for text in texts]
                journal.publish(Part(name, spec, keys, vectors, {}))
            products = Contents([content_key(b"a title")] * len(cells), ["ok"] * len(cells))
            ids = [str(number) for number in range(len(cells))]
            seal(path, journal, Products(ids, {"kind": cells}, {"text": products}))
        return Cache(path)

    return make


def test_names_have_the_vectors_of_their_encoder_in_the_order_of_the_classes(cache_of):
    texts = ["a title", "Shirts", "Odd one", "Hats"]
    with cache_of(("plain", PLAIN, texts), ("few", TEXTS, ["a title", "Hats"])) as cache:
        encoders = [("text", "plain"), ("text", "few"), ("text", "plain+few"), ("metadata", "columns")]
        named, notes = find_class_names(cache, encoders, CLASSES, column="kind")
    assert list(named) == [("text", "plain")]
    wished = np.stack([vector_of(("plain" + name).encode(), 3) for name in CLASSES])
    np.testing.assert_array_equal(named["text", "plain"].numpy(), wished)
    assert notes == []  # one name in three may be a title by chance


def test_an_image_encoder_has_the_names_of_its_own_tower(cache_of):
    other = EncoderSpec("text", {**TEXTS.fields, "weights": "sha256:3"})
    towers = [("other", other, CLASSES), ("tower", TEXTS, CLASSES), ("pictures", IMAGES, ["a picture"])]
    with cache_of(*towers) as cache:
        named, _ = find_class_names(cache, [("image", "pictures")], CLASSES, column="kind")
        np.testing.assert_array_equal(named["image", "pictures"][0].numpy(), vector_of(b"towerHats", 3))
    alone = EncoderSpec("image", {**NETWORK, "vector": "pooled"})
    with cache_of(("tower", TEXTS, CLASSES), ("alone", alone, ["a picture"])) as cache:
        assert find_class_names(cache, [("image", "alone")], CLASSES, column="kind") == ({}, [])


def test_where_a_name_is_missing_none_is_used_and_it_is_said(cache_of):
    with cache_of(("plain", PLAIN, ["Hats", "Shirts"])) as cache:
        named, notes = find_class_names(cache, [("text", "plain")], CLASSES, column="kind")
    assert named == {}
    assert notes == [
        "Names of classes are not used: 1 of 3 have no vector (Odd one). embed-extract --class-names kind makes those "
        "of the cells as they are written."
    ]


PATHS = ["Clothing > Shirts", "Clothing > Hats", "Odd one", "Hats | Odd one"]


def test_names_of_whole_cells_are_told_not_to_be_those_of_a_level(cache_of):
    cells = [*PATHS, ""]
    with cache_of(("plain", PLAIN, ["a title", *PATHS]), cells=cells) as cache:
        named, notes = find_class_names(cache, [("text", "plain")], CLASSES, column="kind", level=-1)
    assert named == {}
    assert notes == [
        "Names of classes are not used: those that the cache has are of whole cells of kind (Clothing > Hats), and "
        "classes are their level -1. Put that into a column of its own for embed-extract --class-names."
    ]


@pytest.mark.parametrize("texts", [["a title"], ["a title", PATHS[0]], [*CLASSES, *PATHS]])
def test_nothing_is_told_of_a_level_where_whole_cells_were_not_encoded_or_its_own_names_were(cache_of, texts):
    with cache_of(("plain", PLAIN, texts), cells=PATHS) as cache:
        named, notes = find_class_names(cache, [("text", "plain")], CLASSES, column="kind", level=-1)
    assert (list(named), notes) == ([("text", "plain")] if len(texts) > 2 else [], [])
