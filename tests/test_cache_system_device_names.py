"""A device's name is checked in one place for encoders and heads, by what PyTorch finds here."""

import pytest

from cache import CacheError
from cache.system.device_names import check_device


@pytest.mark.parametrize("choice", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_what_there_is_may_be_named(choice):
    check_device(choice, {"cpu": 1, "cuda": 2}, forms="cpu or cuda:N", library="PyTorch", error=CacheError)


@pytest.mark.parametrize("choice", ["tpu", "mps", "cpu:0", "cuda:", "cuda:00", "cuda:-1", "cuda:1x", "", " cpu"])
def test_what_is_no_name_is_told(choice):
    with pytest.raises(CacheError, match=r"^--device: expected cpu or cuda:N, got "):
        check_device(choice, {"cpu": 1, "cuda": 2}, forms="cpu or cuda:N", library="PyTorch", error=CacheError)


@pytest.mark.parametrize(("choice", "n_devices", "n_told"), [("cuda:2", 2, 2), ("cuda:256", 2, 2), ("cuda", 0, 0)])
def test_what_is_not_here_is_told_with_what_is(choice, n_devices, n_told):
    with pytest.raises(CacheError, match=rf"got {choice}, but PyTorch 9 finds {n_told} of the kind cuda here\. Use"):
        check_device(choice, {"cpu": 1, "cuda": n_devices}, forms="", library="PyTorch 9", error=CacheError)
