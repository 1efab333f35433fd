"""Fast decoding: large JPEGs are scaled while they are decoded, nothing else is, and the gate holds."""

import io

import numpy as np
import pytest
from PIL import Image
from support import write_catalogue

import embed.encoders.pictures.decode_gate
from cache import Cache
from embed import EncoderError, ExtractSettings, ImageEncoder, SettingError, extract
from embed.contents.images import decode
from embed.encoders.pictures.decode_gate import BothWays, DecodeGate

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("drawn_once")]


def drawn(size, *, kind="JPEG", seed=0, **options):
    """Return a smooth random picture as a file's bytes."""
    colours = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def encoders():
    return {way: ImageEncoder(weights="random", decode=way) for way in ("exact", "fast")}


def pixels(encoders, content):
    prepared = [encoder.prepare(content) for encoder in encoders.values()]
    return [(one.scaled if isinstance(one, BothWays) else one).numpy() for one in prepared]


@pytest.mark.parametrize(
    ("size", "kind"),
    [((60, 80), "JPEG"), ((1023, 1023), "JPEG"), ((4000, 600), "JPEG"), ((1100, 1100), "PNG")],
    ids=["small", "below twice", "narrow", "PNG"],
)
def test_a_picture_that_is_not_much_larger_is_decoded_exactly(encoders, size, kind):
    exact, fast = pixels(encoders, drawn(size, kind=kind))
    assert np.array_equal(exact, fast)


@pytest.mark.parametrize(
    ("size", "decoded"), [((1024, 1024), (512, 512)), ((3000, 2100), (750, 525)), ((4500, 4100), (563, 513))]
)
def test_a_large_jpeg_keeps_twice_the_side_it_is_resized_to(size, decoded):
    assert decode(drawn(size), least_side=512).size == decoded


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}], ids=str)
def test_the_vector_of_a_scaled_jpeg_is_close_to_the_exact_one(encoders, options):
    contents = [drawn((1100, 1100), seed=seed, **options) for seed in range(2)]
    exact, fast = (encoder.encode([encoder.prepare(one) for one in contents]) for encoder in encoders.values())
    assert not np.array_equal(exact, fast)
    cosines = (exact * fast).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(fast, axis=1)
    assert cosines.min() >= 0.999


def test_a_scaled_picture_stands_as_its_orientation_says(encoders):
    exif = Image.Exif()
    exif[0x0112] = 6
    exact, fast = pixels(encoders, drawn((1600, 1100), exif=exif))
    assert np.abs(exact.astype(int) - fast).mean() < 3


def test_the_spec_says_how_pictures_were_decoded(encoders):
    exact, fast = (encoder.spec.fields for encoder in encoders.values())
    assert {name: fast[name] for name in fast.keys() - exact.keys()} == {
        "decode": "JPEG scaled while decoding, to at least 512 pixels a side"
    }


def test_the_gate_compares_the_first_scaled_pictures_only(encoders):
    gate = DecodeGate("fast", encoders["fast"].preprocess, name="net")
    compared, large = [], drawn((1100, 1100))

    def encode(pixels):
        compared.append(len(pixels))
        return np.ones((len(pixels), 4), dtype=np.float32)

    pictures = [gate.pixels(drawn((60, 80))), *(gate.pixels(large) for _ in range(40))]
    assert all(picture.shape == (224, 224, 3) for picture in gate.checked(pictures, encode))
    assert compared == [32, 32]


def test_a_batch_is_compared_again_where_the_comparison_failed(encoders):
    gate = DecodeGate("fast", encoders["fast"].preprocess, name="net")
    batch = [gate.pixels(drawn((1100, 1100)))]

    def no_memory(pixels):
        raise MemoryError

    with pytest.raises(MemoryError):
        gate.checked(batch, no_memory)
    with pytest.raises(EncoderError, match="Use --decode exact"):
        gate.checked(batch, lambda pixels: np.full((len(pixels), 2), np.nan))


@pytest.mark.parametrize("vector", [[1.0, 0.05], [np.nan, 1.0], [0.0, 0.0]], ids=["another way", "NaN", "zero"])
def test_vectors_that_change_close_the_gate(encoders, vector):
    gate = DecodeGate("fast", encoders["fast"].preprocess, name="net")
    answers = iter([np.array([[1.0, 0.0]]), np.array([vector])])
    with pytest.raises(EncoderError, match=r"within a cosine of 0\.999 .* Use --decode exact"):
        gate.checked([gate.pixels(drawn((1100, 1100)))], lambda _: next(answers))


def test_an_extraction_behind_a_closed_gate_stops(tmp_path, monkeypatch):
    catalogue = write_catalogue(tmp_path, [{"id": "1", "image": "1.jpg"}], {"1.jpg": drawn((1100, 1100))})
    settings = ExtractSettings(modalities=("image",), image_weights="random", decode="fast")
    monkeypatch.setattr(embed.encoders.pictures.decode_gate, "LEAST_COSINE", 1.001)
    with pytest.raises(EncoderError, match="Use --decode exact"):
        extract(catalogue, tmp_path / "c.h5", settings=settings)
    assert not (tmp_path / "c.h5").exists()
    exact = ExtractSettings(modalities=("image",), image_weights="random")
    extract(catalogue, tmp_path / "exact.h5", settings=exact)  # what the message advises
    monkeypatch.undo()
    extract(catalogue, tmp_path / "c.h5", settings=settings)
    with Cache(tmp_path / "c.h5") as cache:
        assert cache.encoders("image") == ["resnet18-random-fast"]
        assert np.isfinite(cache.matrix("image")).all()


def test_another_way_to_decode_is_a_named_error():
    with pytest.raises(SettingError, match="--decode: expected exact or fast, got 'quick'"):
        ImageEncoder(weights="random", decode="quick")
