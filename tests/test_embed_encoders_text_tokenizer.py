"""Ids of texts are those of the folder's own tokenizer, as transformers gives them, whoever asks at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import tiny_models
import transformers

from embed.encoders.text_tokenizer import TextTokenizer

TEXTS = ["a", "shirt dress shoe", "Größe 44 – naïve café", "x" * 500, "one  two\tthree\n" * 40, "🙂 <pad> </s>", "手袋"]


@pytest.fixture(scope="module", params=["clip", "siglip2", "chinese_clip"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tiny_models._tokenizer(request.param).save_pretrained(path)
    return path


@pytest.mark.parametrize("padded_length", [None, 12])
@pytest.mark.parametrize("max_length", [4, 12])
def test_ids_are_those_of_the_whole_tokenizer(folder, max_length, padded_length):
    tokenizer = TextTokenizer(folder, vocab_size=100, max_length=max_length, padded_length=padded_length)
    whole = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = whole(text, truncation=True, max_length=max_length)["input_ids"]
        assert tokenizer(text) == ids + [whole.pad_token_id] * ((padded_length or 0) - len(ids)), text


def test_a_tokenizer_that_encodes_in_its_own_way_is_asked_itself(folder, monkeypatch):
    kind = type(transformers.AutoTokenizer.from_pretrained(folder))
    encode = kind._encode_plus
    monkeypatch.setattr(kind, "_encode_plus", lambda self, text, **options: encode(self, text[::-1], **options))
    tokenizer = TextTokenizer(folder, vocab_size=100, max_length=12, padded_length=None)
    assert tokenizer("ab cd") == transformers.AutoTokenizer.from_pretrained(folder)("ab cd")["input_ids"]


def test_many_threads_get_what_one_gets(folder):
    tokenizer = TextTokenizer(folder, vocab_size=100, max_length=12, padded_length=None)
    texts = [f"{text} {n}" for n in range(200) for text in TEXTS]
    alone = list(map(tokenizer, texts))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tokenizer, texts)) == alone


def test_words_are_hashed_where_there_is_no_vocabulary(tmp_path):
    tokenizer = TextTokenizer(tmp_path, vocab_size=2000, max_length=4, padded_length=None)
    assert len(tokenizer("one two three")) == 4
    assert tokenizer("One") == tokenizer("one")
    assert tokenizer.pad_token_id == 0
