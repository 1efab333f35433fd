"""Encoders that decode pictures in one way do so once for all, and each makes the vectors that it makes alone."""

import numpy as np
import pytest
import torch
from support import CountingEncoder, image_bytes, write_catalogue
from tiny_models import write_vision

from cache import Cache
from embed import ExtractSettings, extract
from embed.contents.images import decode
from embed.encoders.huggingface_image import VisionEncoder
from embed.encoders.torchvision_image import ImageEncoder
from embed.errors import ContentError

pytestmark = pytest.mark.slow

N = 11
SETTINGS = ExtractSettings(modalities=("image",), n_workers=1)


class Sharing(CountingEncoder):
    """An encoder that shares what `decode` gives; it refuses some colours, and notes its batches."""

    decoding = "upright RGB"

    def __init__(self, name, *, batch_size, refused=()):
        super().__init__("image", name=name, kind=name)
        self.batch_size, self.refused = batch_size, refused
        self.n_decoded, self.batches = 0, []

    def decode(self, content):
        self.n_decoded += 1
        return decode(content)

    def prepare(self, content):
        return self.prepare_decoded(self.decode(content))

    def prepare_decoded(self, picture):
        if picture.getpixel((0, 0))[0] in self.refused:
            raise ContentError("too_plain")
        return picture.tobytes()

    def encode(self, batch):
        self.batches.append(list(batch))
        return super().encode(batch)


def shop(folder, *, n_products=N):
    """A catalogue of pictures, each redder than the last, of which the third is none."""
    rows = [{"id": str(n), "image": f"{n}.png"} for n in range(n_products)]
    pictures = {f"{n}.png": image_bytes((n, 0, 0)) for n in range(n_products)}
    return write_catalogue(folder, rows, pictures | {"2.png": b"no picture"})


def matrices(path):
    with Cache(path) as cache:
        return {name: cache.matrix("image", name) for name in cache.encoders("image")}


def test_each_picture_is_decoded_once_and_each_encoder_has_the_batches_that_it_has_alone(tmp_path):
    catalogue, alone = shop(tmp_path), {}
    several = [Sharing("a", batch_size=2), Sharing("b", batch_size=4)]
    report = extract(catalogue, tmp_path / "c.h5", settings=SETTINGS, encoders=several)
    assert sum(encoder.n_decoded for encoder in several) == N
    assert [(one.n_encoded, one.n_failed) for one in report.encoders] == [(N - 1, 1)] * 2
    for together in several:
        one = Sharing(together.name, batch_size=together.batch_size)
        extract(catalogue, tmp_path / f"{one.name}.h5", settings=SETTINGS, encoders=[one])
        assert one.batches == together.batches
        assert one.n_decoded == N
        alone |= matrices(tmp_path / f"{one.name}.h5")
    for name, matrix in matrices(tmp_path / "c.h5").items():
        np.testing.assert_array_equal(matrix, alone[name])  # NaN where there is no picture


def test_what_one_encoder_has_is_decoded_for_the_others_alone(tmp_path):
    first, second = (Sharing(name, batch_size=2) for name in "ab")
    extract(shop(tmp_path, n_products=6), tmp_path / "c.h5", settings=SETTINGS, encoders=[first])
    first.n_decoded = 0
    report = extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=[first, second])
    assert first.n_decoded + second.n_decoded == N - 1  # what is no picture is known, and tried by nobody again
    assert [(one.n_cached, one.n_encoded, one.n_failed) for one in report.encoders] == [(6, 5, 0), (1, 10, 0)]
    assert all(np.isfinite(np.delete(matrix, 2, axis=0)).all() for matrix in matrices(tmp_path / "c.h5").values())
    again = extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=[first, second])
    assert not again.was_written


def test_space_is_asked_for_all_that_each_encoder_lacks(tmp_path, monkeypatch):
    """It was asked for the first contents alone, those that both lack: two of them."""
    asked = []
    monkeypatch.setattr(
        "embed.extraction.encoding.shared_decoding.check_space", lambda _, *, n_bytes: asked.append(n_bytes)
    )
    first, second = (Sharing(name, batch_size=2) for name in "ab")
    extract(shop(tmp_path, n_products=N - 1), tmp_path / "c.h5", settings=SETTINGS, encoders=[first])
    asked.clear()
    extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=[first, second])
    assert max(asked) >= 4 * second.dim * (N - 1)


def test_what_one_encoder_refuses_is_no_failure_of_the_others(tmp_path):
    several = [Sharing("a", batch_size=3), Sharing("b", batch_size=3, refused=(7, 8))]
    report = extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=several)
    assert [(one.n_encoded, one.n_failed) for one in report.encoders] == [(N - 1, 1), (N - 3, 3)]
    has = {name: np.isfinite(matrix).all(1) for name, matrix in matrices(tmp_path / "c.h5").items()}
    assert np.flatnonzero(~has["a"]).tolist() == [2]
    assert np.flatnonzero(~has["b"]).tolist() == [2, 7, 8]


def test_what_was_encoded_together_is_kept_when_one_fails(tmp_path):
    """The same line goes on where it was."""
    several = [Sharing("a", batch_size=2), Sharing("b", batch_size=2)]
    broken = Sharing("b", batch_size=2)
    broken.encode = lambda batch: several[1].encode(batch) if len(several[1].batches) < 3 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=[several[0], broken])
    report = extract(shop(tmp_path), tmp_path / "c.h5", settings=SETTINGS, encoders=several)
    assert [one.n_encoded for one in report.encoders] == [5, 5]  # of 10: two and a half pairs are without a failure


def test_encoders_of_both_families_share_a_picture_and_leave_it_as_it_is(tmp_path):
    """What fast decoding gives depends on the network, and is nobody else's."""
    one, other = ImageEncoder(weights="random"), VisionEncoder(str(write_vision(tmp_path / "vit", "vit")))
    assert one.decoding == other.decoding is not None
    assert ImageEncoder(weights="random", decode="fast").decoding is None
    content = image_bytes((1, 2, 3), size=(300, 240), kind="JPEG")
    picture = other.decode(content)
    before = picture.tobytes()
    for _ in range(2):
        assert torch.equal(one.prepare_decoded(picture), one.prepare(content))
        shared, alone = other.prepare_decoded(picture), other.prepare(content)
        assert all(torch.equal(shared[name], values) for name, values in alone.items())
    assert picture.tobytes() == before
