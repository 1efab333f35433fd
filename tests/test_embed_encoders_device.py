"""The device: what is asked for is taken or refused in one line, and never something else instead."""

import pytest
import torch
from support import ROOT

from embed import DeviceError, ExtractSettings, make_encoders
from embed.encoders.device import find_devices, numbered, to_host
from heads.device import find_device
from heads.errors import SettingError


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
        DeviceError, match=rf"^--device: expected .* got {choice}, .* finds 0 .*Use --device auto or cpu\.$"
    ) as caught:
        find_devices(choice)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("find", [find_devices, find_device])
@pytest.mark.parametrize("choice", ["cuda", "cuda:0"])
def test_a_device_that_the_driver_lists_and_cannot_serve_is_an_error(find, choice, monkeypatch):
    """PyTorch counts devices by the driver's management library, which a driver that is too old has, too."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises((DeviceError, SettingError), match=r"finds 0 .*Use --device auto or cpu\.$"):
        find(choice)


@pytest.mark.parametrize(
    "choice", ["cuda:2", "cuda:9", "cuda:127", "cuda:128", "cuda:255", "cuda:256", "cuda:" + "9" * 30]
)
@pytest.mark.parametrize("find", [find_devices, find_device])
def test_a_number_beyond_the_devices_is_an_error(find, machine, choice):
    """PyTorch keeps the number in eight bits: it takes 255 for no number and 128 for -128."""
    machine(n_cuda=2)
    with pytest.raises((DeviceError, SettingError), match="finds 2 "):
        find(choice)


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


class OnCuda(torch.Tensor):
    """A tensor on the CPU that says it is on the second CUDA device."""

    device = torch.device("cuda:1")


def test_what_cuda_computes_is_waited_for_asleep(monkeypatch):
    """`cpu` spins on a core until the device is done; such an event blocks, and the copy behind it pins nothing."""
    done, pinned = [], []
    empty = torch.empty

    class Event:
        def __init__(self, *, blocking):
            self.blocking = blocking

        def record(self, stream):
            done.append(f"recorded on {stream}, {self.blocking=}")

        def synchronize(self):
            done.append("waited")

    def pinned_empty(*size, pin_memory, **options):
        assert pin_memory
        pinned.append(empty(*size, **options))
        return pinned[-1]

    monkeypatch.setattr(torch, "empty", pinned_empty)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    values = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    copied = to_host(values.T.as_subclass(OnCuda))
    assert done == ["recorded on the stream of cuda:1, self.blocking=True", "waited"]
    assert type(copied) is torch.Tensor
    assert torch.equal(copied, values.T)
    assert copied.data_ptr() != pinned[0].data_ptr()


def test_on_the_processor_nothing_is_copied():
    values = torch.ones(3)
    assert to_host(values).data_ptr() == values.data_ptr()


def test_every_copy_from_a_device_goes_through_to_host():
    texts = {path.name: path.read_text() for path in (ROOT / "embed").rglob("*.py")}
    assert [name for name, text in sorted(texts.items()) if ".cpu()" in text] == ["device.py"]


def test_each_thread_takes_cuda_for_the_device_of_the_thread_that_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    found = [numbered(torch.device(name)) for name in ("cuda", "cuda:0", "cpu", "mps")]
    assert found == [torch.device(name) for name in ("cuda:3", "cuda:0", "cpu", "mps")]
