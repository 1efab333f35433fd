"""A view of a picture follows from its bytes, the seed and the view's number, and is an encoder of its own."""

import random

import numpy as np
import pytest
from PIL import Image
from support import CountingEncoder, image_bytes, write_catalogue

from cache import Cache
from embed import ExtractSettings, SettingError, extract, make_encoders
from embed.contents.images import decode
from embed.encoders.factory import rebuild
from embed.encoders.pictures.views import ViewEncoder, augmented

pytestmark = pytest.mark.slow

SETTINGS = ExtractSettings(modalities=("image",), n_workers=1)
RANDOM = {"modalities": ("image",), "image_weights": "random", "device": "cpu", "precision": "fp32"}
PICTURES = {f"{n}.png": image_bytes((20 * n, 90, 200), size=(30 + n, 40)) for n in range(6)}


class Pixels(CountingEncoder):
    """An encoder whose vector is the colour of the picture's corner and its size; it counts what it decodes."""

    decoding = "upright RGB"
    batch_size, n_parallel, device, precision = 2, 1, "cpu", "fp32"

    def __init__(self, name="net"):
        super().__init__("image", name=name)
        self.n_decoded = 0

    def decode(self, content):
        self.n_decoded += 1
        return decode(content)

    def prepare(self, content):
        return self.prepare_decoded(self.decode(content))

    def prepare_decoded(self, picture):
        return np.array([*picture.getpixel((0, 0)), *picture.size], np.float32)

    def encode(self, batch):
        self.n_encoded += len(batch)
        return np.stack(batch)


def views_of(whole, *, n_views=2, seed=0):
    return [whole, *(ViewEncoder(whole, number, seed=seed) for number in range(1, n_views + 1))]


def test_the_same_picture_has_the_same_view_whoever_encodes_it_and_whenever():
    contents = list(PICTURES.values())
    one, other = (ViewEncoder(Pixels(), 1, seed=3) for _ in range(2))
    forwards = [one.prepare(content) for content in contents]
    backwards = [other.prepare(content) for content in reversed(contents)]
    np.testing.assert_array_equal(forwards, backwards[::-1])
    for different in (ViewEncoder(Pixels(), 2, seed=3), ViewEncoder(Pixels(), 1, seed=4)):
        assert not np.array_equal(forwards, [different.prepare(content) for content in contents])


def test_another_picture_has_another_view():
    view = ViewEncoder(Pixels(), 1, seed=0)
    sizes = {tuple(view.prepare(image_bytes((n, 0, 0), size=(40, 50)))[3:]) for n in range(6)}
    assert len(sizes) == 6


def test_a_view_is_a_part_of_the_picture_mirrored_or_not():
    ramp = Image.fromarray(np.arange(60, dtype=np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2))
    flips = set()
    for seed in range(20):
        view = augmented(ramp, random.Random(seed))
        columns = np.asarray(view)[0, :, 0].astype(int)
        assert view.width <= 60
        assert view.height <= 40
        assert 0.48 <= view.width * view.height / (60 * 40) <= 1  # sides are whole pixels
        flips.add(bool(columns[0] > columns[-1]))
    assert flips == {False, True}


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_the_smallest_pictures_have_views(size):
    for number in range(20):
        view = ViewEncoder(Pixels(), number, seed=0)
        assert (view.prepare(image_bytes(size=size))[3:] >= 1).all()


def test_each_picture_is_decoded_once_for_all_views_and_each_is_an_entry(tmp_path):
    rows = [{"id": name, "image": name} for name in PICTURES]
    catalogue = write_catalogue(tmp_path, rows, PICTURES)
    whole = Pixels()
    report = extract(catalogue, tmp_path / "c.h5", settings=SETTINGS, encoders=views_of(whole))
    assert [(one.name, one.n_encoded) for one in report.encoders] == [
        ("image/net", 6), ("image/net.view1", 6), ("image/net.view2", 6)
    ]  # fmt: skip
    assert whole.n_decoded == 6
    with Cache(tmp_path / "c.h5") as cache:
        for encoder in views_of(Pixels()):
            alone = [encoder.prepare(content) for content in PICTURES.values()]
            np.testing.assert_array_equal(cache.matrix("image", encoder.name), alone)
            assert cache.spec("image", encoder.name) == encoder.spec
    again = extract(catalogue, tmp_path / "c.h5", settings=SETTINGS, encoders=views_of(whole, n_views=3))
    assert [one.n_encoded for one in again.encoders] == [0, 0, 0, 6]


def test_one_view_is_what_there_was():
    """The picture as it is has the name and the spec that it has without views; each view has one field more."""
    (alone,) = make_encoders(ExtractSettings(**RANDOM))
    plain, first, second = make_encoders(ExtractSettings(**RANDOM, views=3))
    assert (plain.name, plain.spec) == (alone.name, alone.spec)
    assert [first.name, second.name] == ["resnet18-random.view1", "resnet18-random.view2"]
    drawn = {
        "number": 2,
        "seed": 0,
        "flip": 0.5,
        "crop": {"shares": [0.5, 1.0], "aspects": [0.75, 1.25]},
        "colour": 0.2,
    }
    assert second.spec.fields == {**alone.spec.fields, "view": drawn}


def test_a_view_is_made_again_from_its_spec():
    settings = ExtractSettings(**RANDOM, views=2)
    _, view = make_encoders(settings)
    (again,) = rebuild([(view.spec, ExtractSettings(**RANDOM))])
    assert (again.name, again.spec) == (view.name, view.spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "--views: expected at least 1, got 0"),
        ({"views": 2, "modalities": ("text",)}, "--views: expected 1 where no pictures are encoded, got 2"),
        ({"views": 2, "decode": "fast"}, "--views: expected 1 with --decode fast, .* Leave one of the two out"),
    ],
)
def test_views_that_cannot_be_are_a_named_error(options, message):
    with pytest.raises(SettingError, match=message):
        make_encoders(ExtractSettings(**{**RANDOM, **options}))
