"""The device: what is asked for is taken or refused in one line, and never something else instead."""

import pytest
import torch

from embed import DeviceError, ExtractSettings, make_encoders
from embed.encoders.device import find_devices


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes PyTorch find so many CUDA devices, and MPS or not."""

    def make(*, n_cuda=0, has_mps=False):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cuda > 0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)

    return make


@pytest.mark.parametrize(
    ("n_cuda", "has_mps", "found"), [(0, False, "cpu"), (0, True, "mps"), (2, False, "cuda"), (2, True, "cuda")]
)
def test_auto_is_the_fastest_device_there_is(machine, n_cuda, has_mps, found):
    machine(n_cuda=n_cuda, has_mps=has_mps)
    assert find_devices("auto") == [torch.device(found)]


@pytest.mark.parametrize("choice", ["cpu", "mps", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_is_taken_as_it_is_named(machine, choice):
    machine(n_cuda=2, has_mps=True)
    assert find_devices(choice) == [torch.device(choice)]


def test_the_processor_is_always_there(machine):
    machine()
    assert find_devices("cpu") == [torch.device("cpu")]


@pytest.mark.parametrize("choice", ["cuda", "cuda:0", "cuda:9", "mps"])
def test_a_device_that_is_not_there_is_an_error_of_one_line_with_the_way_out(machine, choice):
    machine()
    with pytest.raises(
        DeviceError, match=rf"^--device {choice} must .* finds 0 .*Use --device auto or cpu\.$"
    ) as caught:
        find_devices(choice)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "choice", ["cuda:2", "cuda:9", "cuda:127", "cuda:128", "cuda:255", "cuda:256", "cuda:" + "9" * 30]
)
def test_a_number_beyond_the_devices_is_an_error(machine, choice):
    """PyTorch keeps the number in eight bits: it takes 255 for no number and 128 for -128."""
    machine(n_cuda=2)
    with pytest.raises(DeviceError):
        find_devices(choice)


@pytest.mark.parametrize(
    "choice",
    [
        "",
        "gpu",
        "CPU",
        " cpu",
        "cpu\n",
        "cuda:",
        "cuda:-1",
        "cuda:x",
        "cuda:01",
        "cuda:٣",
        "mps:0",
        "cpu:0",
        "meta",
        "xpu",
    ],
)
def test_another_name_is_an_error_that_shows_it(machine, choice):
    machine(n_cuda=9)
    with pytest.raises(DeviceError) as caught:
        find_devices(choice)
    assert repr(choice) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_encoders_are_not_made_for_a_device_that_is_not_there():
    settings = ExtractSettings(device="cuda:99", image_weights="random", text_weights="random")
    with pytest.raises(DeviceError):
        make_encoders(settings)
