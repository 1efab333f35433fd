"""`embed.cached` around real models of sentence-transformers, timm and transformers, with small random weights."""

import copy
import inspect
import logging
import pickle
import threading
from collections import Counter

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from tiny_models import sentence_model, write_vision

import embed
from cache import Cache, verify
from embed.encoders.specs.description import Description
from embed.extraction.in_memory.held_contents import keyed

pytestmark = pytest.mark.slow

TEXTS = ["red shirt", "blue shoes", "red shirt", "a cotton shirt that is much longer", "", "  Red\tSHIRT "]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return sentence_model(tmp_path_factory.mktemp("sentences"))


@pytest.fixture
def seen(monkeypatch):
    """All texts that a bare sentence-transformers model encodes in the test, in their order."""
    from sentence_transformers import SentenceTransformer  # every process of tests collects all, one needs it

    texts = []
    bare = SentenceTransformer.encode

    def encode(self, inputs, *args, **kwargs):
        texts.extend([inputs] if isinstance(inputs, str) else inputs)
        return bare(self, inputs, *args, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    encode.__signature__ = inspect.signature(bare)
    return texts


class Pictures:
    """A vision model as an object with ``encode(list)``; a user's own class."""

    def __init__(self, model, transform):
        self.model = model.eval()
        self.transform = transform

    def encode(self, pictures):
        with torch.inference_mode():
            return self.model(torch.stack([self.transform(picture) for picture in pictures])).numpy()


def timm_encoder(*, seed=0, name="test_resnet"):
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=0)
    return Pictures(model, timm.data.create_transform(**timm.data.resolve_model_data_config(model)))


def pictures():
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 255, (40, 30, 3), dtype=np.uint8)) for _ in range(3)]


def test_answers_are_the_model_s_in_order_with_copies_and_only_new_texts_are_encoded(sentences, seen, tmp_path):
    bare = sentences.encode(TEXTS)
    seen.clear()
    model = embed.cached(sentences, tmp_path / "v.h5")
    for texts in (TEXTS, TEXTS[::-1], TEXTS):
        vectors = model.encode(texts)
        expected = bare if texts is TEXTS else bare[::-1]
        assert vectors.dtype == bare.dtype
        np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert Counter(seen) == Counter(set(TEXTS))
    assert np.array_equal(model.encode([*TEXTS, "new"])[:-1], vectors)
    assert Counter(seen) == Counter({*TEXTS, "new"})
    assert model.encode("red shirt").shape == bare[0].shape
    assert model.get_embedding_dimension() == 32  # all else is the model's own
    assert verify(tmp_path / "v.h5") == []


def test_another_process_finds_the_vectors_and_another_path_is_the_same_model(sentences, seen, tmp_path):
    vectors = embed.cached(sentences, tmp_path / "v.h5").encode(TEXTS)
    sentences.save(str(tmp_path / "elsewhere"))
    again = type(sentences)(str(tmp_path / "elsewhere"), device="cpu")
    seen.clear()
    assert np.array_equal(embed.cached(again, tmp_path / "v.h5").encode(TEXTS), vectors)
    assert seen == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"normalize_embeddings": True},
        {"prompt_name": "query"},
        {"prompt": "cotton "},
        {"truncate_dim": 8},
        {"precision": "binary"},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
    ],
    ids=str,
)
def test_arguments_give_what_they_give_the_model_the_first_time_and_later(sentences, tmp_path, arguments):
    texts = TEXTS[:4]
    model = embed.cached(sentences, tmp_path / "v.h5")
    model.encode(texts)  # without them, so that vectors of another kind stand there
    bare = sentences.encode(texts, **arguments)
    for _ in range(2):
        answer = model.encode(texts, **arguments)
        assert type(answer) is type(bare)
        assert [row.dtype for row in answer] == [row.dtype for row in bare]
        np.testing.assert_allclose(np.stack(list(answer)), np.stack(list(bare)), atol=1e-6)
        model = embed.cached(sentences, tmp_path / "v.h5")


def test_arguments_that_change_no_vector_encode_nothing_again(sentences, seen, tmp_path):
    model = embed.cached(sentences, tmp_path / "v.h5")
    model.encode(TEXTS)
    seen.clear()
    model.encode(TEXTS, batch_size=1, show_progress_bar=False, convert_to_tensor=True, normalize_embeddings=False)
    model.encode(sentences=TEXTS)
    assert seen == []
    for arguments in ({"prompt_name": "query"}, {"prompt_name": "shout"}, {"normalize_embeddings": True}):
        model.encode(["red shirt"], **arguments)
    assert seen == ["red shirt"] * 3
    model.encode_query(["red shirt"])
    model.encode_query(["red shirt"])
    assert seen == ["red shirt"] * 4


def test_vectors_whose_scale_comes_from_their_batch_are_the_model_s_own(sentences, seen, tmp_path):
    model = embed.cached(sentences, tmp_path / "v.h5")
    texts = [f"word{n} shirt" for n in range(30)]
    for arguments in ({"precision": "int8"}, {"output_value": "token_embeddings"}):
        seen.clear()
        model.encode(texts, **arguments)
        model.encode(texts, **arguments)
        assert len(seen) == 60
    assert not (tmp_path / "v.h5").exists()
    assert model.encode([]).shape == sentences.encode([]).shape


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model[0].model.encoder.layer[1].output.dense.bias.data.add_(1),  # which counts no version
        lambda model: model[0].model.embeddings.word_embeddings.weight.data.mul_(2),
        lambda model: setattr(model[1], "pooling_mode", "cls"),
        lambda model: model.prompts.update(query="cotton "),
        lambda model: setattr(model, "truncate_dim", 4),
        lambda model: setattr(model, "max_seq_length", 3),
        lambda model: model.tokenizer.add_tokens(["fluff"]),
        lambda model: setattr(model[0], "do_lower_case", True),
        lambda model: setattr(model[0].model.encoder.layer[0].attention.output.LayerNorm, "eps", 0.1),
        lambda model: model.half(),
    ],
    ids=["bias", "weights", "pooling", "prompt", "truncation", "length", "vocabulary", "case", "epsilon", "half"],
)
def test_whatever_changes_the_vectors_is_another_model(sentences, change):
    model = copy.deepcopy(sentences)
    description = Description()
    before = description.fields(model)
    assert description.fields(model) == before == Description().fields(sentences)
    change(model)
    assert description.fields(model) != before
    assert description.fields(model) == Description().fields(model)


def test_a_model_that_is_trained_on_is_encoded_anew_through_the_same_object(sentences, tmp_path):
    model = embed.cached(copy.deepcopy(sentences), tmp_path / "v.h5")
    before = model.encode(TEXTS)
    with torch.no_grad():
        model.model[0].model.embeddings.word_embeddings.weight += 1
    after = model.encode(TEXTS)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, model.model.encode(TEXTS), atol=1e-6)


def test_half_precision_stays_half_precision(sentences, seen, tmp_path):
    for dtype in (torch.float16, torch.bfloat16):
        half = copy.deepcopy(sentences).to(dtype)
        bare = half.encode(TEXTS[:2], convert_to_tensor=True), half.encode(TEXTS[:2])
        for _ in range(2):
            model = embed.cached(half, tmp_path / "v.h5")
            assert model.encode(TEXTS[:2]).dtype == bare[1].dtype
            assert model.encode(TEXTS[:2], convert_to_tensor=True).dtype == dtype
        assert torch.allclose(model.encode(TEXTS[:2], convert_to_tensor=True).float(), bare[0].float(), atol=0.05)
    assert len(seen) == (4 + 2 + 2) + (
        4 + 2
    )  # bare, and cached; the first float16 is not what was thought, and run again


def test_timm_s_pictures_are_known_by_their_pixels(tmp_path):
    encoder = timm_encoder()
    expected = encoder.encode(pictures())
    vectors = embed.cached(encoder, tmp_path / "v.h5").encode(pictures())
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    fields = Description()
    assert fields.fields(timm_encoder()) == fields.fields(encoder)
    assert Description().fields(timm_encoder(seed=1)) != fields.fields(encoder)
    other = timm_encoder()
    other.transform.transforms[-1].mean.add_(0.1)
    assert Description().fields(other)["settings"] != fields.fields(encoder)["settings"]
    one_more = [*pictures(), Image.new("RGB", (9, 9))]
    assert np.array_equal(embed.cached(timm_encoder(), tmp_path / "v.h5").encode(one_more)[:3], vectors)
    with Cache(tmp_path / "v.h5") as cache:
        [name] = cache.encoders("image")
        assert name.startswith("Pictures-")


def test_transformers_models_and_what_they_prepare_pictures_with(tmp_path):
    folder = write_vision(tmp_path / "vit", "vit")
    model = hf.AutoModel.from_pretrained(folder)
    processor = hf.AutoImageProcessor.from_pretrained(folder)

    class Vit:
        def __init__(self):
            self.model, self.processor = model.eval(), processor

        def encode(self, some):
            with torch.inference_mode():
                return self.model(**self.processor(some, return_tensors="pt")).last_hidden_state[:, 0]

    vectors = embed.cached(Vit(), tmp_path / "v.h5").encode(pictures())
    again = embed.cached(Vit(), tmp_path / "v.h5").encode(pictures())
    assert torch.is_tensor(vectors)
    assert torch.equal(vectors, again)
    assert torch.allclose(vectors, Vit().encode(pictures()), atol=1e-6)
    before = Description().fields(Vit())
    processor.image_mean = [0.1, 0.2, 0.3]
    assert Description().fields(Vit()) != before


def test_a_user_s_code_and_the_globals_it_reads_are_part_of_the_model():
    def made(source, **names):
        exec(source, names)  # noqa: S102 - as a notebook does
        return Description().fields(names["Model"]())

    source = (
        "class Model:\n    def encode(self, texts):\n        return helper(texts) * factor\n"
        "def helper(x):\n    return x\n"
    )
    first = made(source, factor=1)
    assert made(source.replace("\ndef", "\n\n# a note\ndef"), factor=1) == first
    assert made(source, factor=2) != first
    assert made(source.replace("return x", "return x + x"), factor=1) != first
    assert made(source.replace("* factor", "/ factor"), factor=1) != first


class Held:
    def __init__(self, **attributes):
        vars(self).update(attributes)

    def encode(self, texts):
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def test_what_cannot_be_hashed_asks_for_a_spec(tmp_path):
    unhashable = Held(lock=threading.Lock())
    with pytest.raises(embed.SettingError, match=r"model.lock is _thread.lock.*spec="):
        embed.cached(unhashable, tmp_path / "v.h5")
    for version in (1, 2):
        model = embed.cached(unhashable, tmp_path / "v.h5", name="held", spec={"model": "held", "version": version})
        assert model.encode(["abc"]).tolist() == [[3, 1]]
    with Cache(tmp_path / "v.h5") as cache:
        names = cache.encoders("text")
    assert len(names) == 2
    assert all(name.startswith("held-") for name in names)
    with pytest.raises(embed.SettingError, match="encode"):
        embed.cached(object())


def test_a_model_that_changes_while_it_encodes_is_told_of(tmp_path, caplog):
    class Counting(Held):
        def encode(self, texts):
            self.n_texts += len(texts)
            return super().encode(texts)

    with caplog.at_level(logging.WARNING):
        embed.cached(Counting(n_texts=0), tmp_path / "v.h5").encode(["a"])
    assert "settings of Counting changed while it encoded" in caplog.text


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_numbers_that_a_cache_cannot_hold_are_refused(tmp_path, dtype):
    class Wide(Held):
        def encode(self, texts):
            return super().encode(texts).astype(self.dtype)

    with pytest.raises(embed.EncoderError, match=f"got {dtype}"):
        embed.cached(Wide(dtype=dtype), tmp_path / "v.h5").encode(["a"])


def test_threads_share_a_model_and_a_cache(sentences, seen, tmp_path):
    model = embed.cached(sentences, tmp_path / "v.h5")
    texts = [f"word{n % 40} shirt {n}" for n in range(80)]
    answers = {}
    threads = [
        threading.Thread(target=lambda start=start: answers.setdefault(start, model.encode(texts[start:])))
        for start in (0, 20, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(seen) == Counter(texts)
    assert all(np.array_equal(answers[start], answers[0][start:]) for start in (20, 40))
    assert pickle.loads(pickle.dumps(model)).encode("red").shape == (32,)  # noqa: S301 - our own


def test_files_that_texts_name_are_known_by_their_bytes(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    keys = []
    for content in (b"one", b"two", b"two"):
        path.write_bytes(content)
        keys.append([part.keys for _, part in keyed([str(path), {"image": str(path)}], opens_files=True).values()])
    assert keys[0] != keys[1] == keys[2]
    assert keyed([str(path)], opens_files=False).keys() == {"text"}
    with pytest.raises(embed.SettingError, match="Fetch it first"):
        keyed(["https://example.org/a.png"], opens_files=True)
