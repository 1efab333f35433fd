"""What a user's code is: all of it that can change a vector, and nothing that is another in each process."""

import types

import numpy as np
import pytest
import torch

import embed
from embed.encoders.specs.description import Description
from embed.encoders.specs.user_code import code_as_data

pytestmark = pytest.mark.slow

SOURCE = """
import abc, enum, functools

@functools.lru_cache
def helper(x):
    return x

class Pooling(enum.Enum):
    MEAN = "mean"

class Model(abc.ABC):
    prefix = "query: "
    pooling = Pooling.MEAN
    class Config:
        scale = 1.0
    @staticmethod
    @functools.lru_cache
    def cut(x):
        return x
    def encode(self, texts):
        return [tools.scaled(helper(self.cut(self.prefix + text))) for text in texts]
"""


def fields_of(source=SOURCE, tool="def scaled(x):\n    return unit * x\n", **names):
    module = types.ModuleType("tools_of_mine")
    exec(tool, vars(module) | {"unit": 1}, vars(module))  # noqa: S102 - as a file that is imported
    names = {"tools": module} | names
    exec(source, names)  # noqa: S102 - as a notebook does
    return Description().fields(names["Model"]())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"query: "', '"passage: "'),
        ("scale = 1.0", "scale = 2.0"),
        ("def helper(x):\n    return x", "def helper(x):\n    return x + x"),
        ("def cut(x):\n        return x", "def cut(x):\n        return x[:9]"),
        ('MEAN = "mean"', 'MEAN = "max"'),
    ],
)
def test_what_a_class_says_and_what_is_behind_a_decorator_is_part_of_the_model(old, new):
    assert old in SOURCE
    assert fields_of() == fields_of()
    assert fields_of(SOURCE.replace(old, new)) != fields_of()


def test_what_code_takes_of_a_module_of_the_user_s_is_part_of_the_model():
    assert fields_of(tool="def scaled(x):\n    return unit / x\n") != fields_of()
    assert fields_of(tool="def scaled(x):\n    return unit * x\ndef other(): pass\n") == fields_of()


def test_code_is_the_same_data_whatever_the_order_of_a_set():
    one, other = frozenset([0, 8]), frozenset([8, 0])
    assert repr(one) != repr(other)  # as of texts in two processes
    code = compile("0", "code", "eval")
    assert code_as_data(code.replace(co_consts=((one, 1),))) == code_as_data(code.replace(co_consts=((other, 1),)))


class Net:
    def __init__(self):
        self.net = torch.nn.Sequential(torch.nn.Embedding(2, 3, padding_idx=0), torch.nn.Dropout(0.5))

    def encode(self, texts):
        return self.net(torch.ones(len(texts), dtype=torch.int64)).detach().numpy()


def test_weights_that_are_written_past_autograd_are_other_weights(tmp_path):
    net = Net()
    net.net.eval()
    model = embed.cached(net, tmp_path / "v.h5")
    model.encode(["a"])
    net.net[0].weight.data[1] = 7.0  # the first number, of the padding, stays zero
    assert model.encode(["a"]).tolist() == [[7.0, 7.0, 7.0]]


def test_a_network_that_works_as_in_training_is_refused(tmp_path):
    net = Net()
    model = embed.cached(net, tmp_path / "v.h5")
    with pytest.raises(
        embed.EncoderError, match=r"evaluation mode, but model\.net\.1 \(Dropout\) works as in training"
    ):
        model.encode(["a"])
    net.net.eval()
    assert np.array_equal(model.encode(["a"]), net.encode(["a"]))
