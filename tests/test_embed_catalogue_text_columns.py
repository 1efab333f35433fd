"""Texts made of several columns, and cleaned texts: what is joined and cleaned is what is hashed and encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import CountingEncoder, vector_of

from cache import Cache, content_key
from embed import CatalogueError, ExtractSettings, extract, read_catalogue
from embed.contents.texts import clean, join

CACHE = "cache.h5"


@pytest.fixture
def catalogue():
    Path("c.csv").write_text(
        "id,title,description,brand\n1,Blue Shirt,Soft  cotton!,Alba\n2,Hat,,\n3,,,\n4, ,Wool,\n", encoding="utf-8"
    )
    return Path("c.csv")


def run(catalogue, **settings):
    """Extract, and return how many texts were encoded, the keys of the products and their vectors."""
    encoder = CountingEncoder("text")
    extract(catalogue, CACHE, settings=ExtractSettings(modalities=("text",), **settings), encoders=[encoder])
    with Cache(CACHE) as cache:
        rows = cache.rows("text")
        keys = [cache.keys("text")[row].decode() if row >= 0 else "" for row in rows]
        return encoder.n_encoded, keys, cache.matrix("text"), cache.columns()


def test_joined_text_is_what_is_hashed_and_encoded(catalogue):
    n_encoded, keys, vectors, columns = run(catalogue, text_columns="title,description")
    texts = ["Blue Shirt. Soft cotton!", "Hat", "", "Wool"]
    assert n_encoded == 3
    assert keys == [content_key(text.encode()) if text else "" for text in texts]
    np.testing.assert_array_equal(vectors[0], vector_of(texts[0].encode(), 4))
    assert np.isnan(vectors[2]).all()
    assert columns == ["title", "description", "brand"], "the cells are kept as written"


def test_another_join_is_another_text_where_it_reads_otherwise(catalogue):
    run(catalogue, text_columns="title,description")
    n_encoded, keys, _, _ = run(catalogue, text_columns="description,title")
    assert n_encoded == 1
    assert keys[0] == content_key(b"Soft cotton!. Blue Shirt")
    assert run(catalogue, text_column="title")[0] == 1  # of Hat there is nothing to join
    assert run(catalogue, text_columns="title,description")[0] == 0


def test_columns_that_are_not_there_are_named(catalogue):
    with pytest.raises(
        CatalogueError, match=r"--text-columns: expected one of .*\(id, title, description, brand\).*'size'"
    ):
        read_catalogue(catalogue, ExtractSettings(modalities=("text",), text_columns="title,size"))


def test_the_id_column_may_be_part_of_the_text(catalogue):
    read = read_catalogue(catalogue, ExtractSettings(modalities=("text",), text_columns="id,brand"))
    assert read.cells("text") == ["1. Alba", "2", "3", "4"]
    assert read.ids == ["1", "2", "3", "4"]


def test_cleaned_texts_have_keys_and_vectors_of_their_own(catalogue):
    _, plain, plain_vectors, _ = run(catalogue, text_columns="title,description")
    n_encoded, cleaned, vectors, _ = run(catalogue, text_columns="title,description", clean_text=True)
    assert n_encoded == 3
    assert not set(plain) & set(cleaned) - {""}
    assert cleaned[0] == content_key(b"blue shirt soft cotton")
    np.testing.assert_array_equal(vectors[0], vector_of(b"blue shirt soft cotton", 4))
    assert (vectors[0] != plain_vectors[0]).all()
    again = run(catalogue, text_columns="title,description")
    assert (again[0], again[1]) == (0, plain)
    np.testing.assert_array_equal(again[2], plain_vectors)


def test_a_text_of_punctuation_alone_is_absent_when_it_is_cleaned():
    Path("c.csv").write_text("id,text\n1,!?\n2,a\n")
    encoder = CountingEncoder("text")
    settings = ExtractSettings(modalities=("text",), clean_text=True)
    assert extract("c.csv", CACHE, settings=settings, encoders=[encoder]).statuses == {"text": {"absent": 1, "ok": 1}}


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Men's T-Shirt", "men s t shirt"),
        ("100% cotton, $5 < new", "100 cotton 5 new"),
        ("«Größe» — XL…", "größe xl"),
        ("قميص، أزرق؟", "قميص أزرق"),
        ("日本。東京", "日本 東京"),
        ("👕 café\u0301", "👕 café\u0301"),
        ("हिन्दी", "हिन्दी"),
        (" \t\n", ""),
    ],
)
def test_cleaning_takes_case_and_punctuation_and_nothing_else(text, cleaned):
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("cells", "text"), [(["a", "b"], "a. b"), ([" a ", "", "\t", "b"], "a. b"), (["a"], "a"), (["", ""], ""), ([], "")]
)
def test_joined_text_has_no_trace_of_empty_cells(cells, text):
    assert join(cells) == text
