"""Which name an encoder goes on under, where a cache has vectors that were made in the same way."""

from types import SimpleNamespace

import pytest

from cache import EncoderSpec
from embed.encoders.specs.kept_names import keep_names


def spec_of(weights):
    return EncoderSpec("image", {"weights": weights})


@pytest.mark.parametrize(
    ("cached", "named", "kept"),
    [
        ({"tuned": "a"}, {"in-use": "a"}, ["tuned"]),
        ({"tuned": "a"}, {"in-use": "b"}, ["in-use"]),
        ({"earlier": "a", "tuned": "a"}, {"tuned": "a"}, ["tuned"]),  # which the cache has as well
        ({"tuned": "a"}, {"tuned": "a", "copy": "a"}, ["tuned", "copy"]),  # the name is another's
        ({"tuned": "a"}, {"copy": "a", "tuned": "a"}, ["copy", "tuned"]),
        ({"tuned": "a"}, {"copy": "a", "another": "a"}, ["tuned", "another"]),
    ],
)
def test_an_encoder_has_the_name_in_the_cache_unless_it_is_there_by_its_own_or_another_has_that(cached, named, kept):
    encoders = [SimpleNamespace(name=name, spec=spec_of(weights)) for name, weights in named.items()]
    keep_names(encoders, {("image", name): spec_of(weights) for name, weights in cached.items()})
    assert [encoder.name for encoder in encoders] == kept


def test_all_devices_copies_of_an_encoder_go_on_under_one_name():
    encoders = [SimpleNamespace(name="in-use", spec=spec_of("a")) for _ in range(2)]
    keep_names(encoders, {("image", "tuned"): spec_of("a")})
    assert [encoder.name for encoder in encoders] == ["tuned", "tuned"]
