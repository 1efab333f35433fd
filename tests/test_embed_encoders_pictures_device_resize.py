"""Resizing as matrix products: Pillow's bytes, and the host's where a device would give others."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.functional import InterpolationMode

from embed.encoders.pictures import device_resize
from embed.encoders.pictures.device_resize import COMMON, MOST_PIXELS, Decoded, DeviceResize
from embed.encoders.pictures.preprocess import Preprocess

SIZES = [(80, 60), (60, 80), (33, 500), (480, 17), (224, 224), (256, 256), (7, 9), (511, 300)]


def preprocess_of(interpolation="bilinear", *, crop=48, resize=56):
    return Preprocess(
        ImageClassification(crop_size=crop, resize_size=resize, interpolation=InterpolationMode(interpolation))
    )


def drawn(height, width, *, n=2):
    return torch.from_numpy(np.random.default_rng(height).integers(0, 256, (n, height, width, 3), dtype=np.uint8))


def on_host(preprocess, pictures):
    return torch.stack([preprocess.pixels(Image.fromarray(one.numpy())) for one in pictures])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_pillows(size, interpolation):
    preprocess = preprocess_of(interpolation)
    pictures = drawn(*size)
    resize = DeviceResize(preprocess._sized, interpolation=interpolation)
    assert torch.equal(resize.resized(pictures), on_host(preprocess, pictures))
    assert None not in resize._plans.values()


@pytest.mark.parametrize("fault", ["another filter", "another filter, a blank picture", "a crop that is filled up"])
def test_where_the_device_would_give_others_they_are_the_hosts(fault, monkeypatch):
    """And the next picture of that size stays there."""
    preprocess = preprocess_of(crop=64) if "crop" in fault else preprocess_of()
    resize = DeviceResize(preprocess._sized, interpolation="bilinear")
    if "filter" in fault:
        monkeypatch.setitem(device_resize.FILTERS, "bilinear", device_resize.FILTERS["bicubic"])
    pictures = drawn(80, 60, n=3)
    if "blank" in fault:  # whose pixels are right by any filter
        pictures[0] = 255
    assert [resize.takes(80, 60) for _ in range(COMMON)][-1]
    assert torch.equal(resize.resized(pictures), on_host(preprocess, pictures))
    assert not resize.takes(80, 60)


def test_common_sizes_are_taken_and_large_pictures_are_not(monkeypatch):
    resize = DeviceResize(preprocess_of()._sized, interpolation="bilinear")
    assert [resize.takes(80, 60) for _ in range(COMMON + 1)] == [False] * (COMMON - 1) + [True, True]
    assert not any(resize.takes(MOST_PIXELS, 2) for _ in range(COMMON + 1))
    monkeypatch.setattr(device_resize, "MOST_PLANS", 1)
    assert not any(resize.takes(60, 80) for _ in range(COMMON + 1))
    assert not any(DeviceResize(None, interpolation="lanczos").takes(80, 60) for _ in range(COMMON + 1))


def test_a_batch_of_many_sizes_keeps_its_order_and_fits_into_memory(monkeypatch):
    monkeypatch.setattr(device_resize, "MOST_BYTES", 1)  # one picture at a time
    preprocess = preprocess_of()
    pictures = [drawn(*size, n=1)[0] for size in (*SIZES, (80, 60))]
    expected = [on_host(preprocess, picture[None])[0] for picture in pictures]
    mixed = [
        one if n % 2 else Decoded(picture) for n, (one, picture) in enumerate(zip(expected, pictures, strict=True))
    ]
    assert torch.equal(preprocess.batch(mixed), torch.stack(expected))
