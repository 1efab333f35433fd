"""An accelerator that is none: it finds tensors on the wrong device where there is no GPU.

Its tensors say that they are on ``emulated:0``, keep their numbers in the CPU's memory and compute there, so that
results are those of the CPU; and as CUDA's they refuse to meet the CPU's tensors in one operation. What takes no other
tensor, such as ``torch.zeros(3, device="emulated")``, is a kernel of the backend; all else comes through their class.

A backend is registered for the whole process and for good. So it is done in a process of its own, `emulated_process`,
and never in that of the tests.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import fork_server
import torch
from support import ROOT
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "emulated"
DEVICE = f"{NAME}:0"
SERVES = "import sys; sys.path[:0] = sys.argv[1:]; import emulated_device; emulated_device.serve()"

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}  # from one device to another
LOOKS_UP = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}  # by indices of the CPU, too
TAKES_NO_SCALARS = {aten._fused_adamw_.default}  # all others take a CPU tensor without shape for a number
MATRIX_PRODUCTS = {  # CUDA has them for floating-point numbers alone
    aten.addmm.default, aten.addmv.default, aten.baddbmm.default, aten.bmm.default, aten.dot.default, aten.mm.default,
    aten.mv.default,
}  # fmt: skip
RESIZES = (
    "arange",
    "arange.start",
    "arange.start_step",
)  # else PyTorch resizes an empty tensor: wrappers cannot be
_libraries: list[torch.library.Library] = []  # a registration ends with its library


@contextmanager
def emulated_process() -> Iterator[Callable[..., Any]]:
    """Yield a function that calls another in a process that has the device, and returns or raises what that does."""
    command = [sys.executable, "-c", SERVES, str(ROOT), str(ROOT / "tests")]
    with fork_server.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:

        def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            pickle.dump((function, arguments, options), process.stdin)
            process.stdin.flush()
            result, error = pickle.load(process.stdout)  # noqa: S301 - of a process of ours
            if error is not None:
                raise error
            return result

        yield call


def serve() -> None:
    """Register the device, and answer the calls that come by stdin until it ends."""
    register()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what is printed is no answer
        while True:
            try:
                function, arguments, options = pickle.load(sys.stdin.buffer)  # noqa: S301 - of a process of ours
            except EOFError:
                return
            try:
                answer = function(*arguments, **options), None
            except Exception as error:  # noqa: BLE001 - it is raised where the call came from
                answer = None, error
            pickle.dump(answer, answers)
            answers.flush()


def register() -> None:
    """Make ``torch.device("emulated")`` known in this process, which stays when a test's folder goes."""
    os.chdir(Path(__file__).parent)
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    torch.backends.cuda.enable_flash_sdp(False)  # of the CPU, too: the device has one way to compute attention
    _setup_privateuseone_for_python_backend(rename=NAME)
    kernels, fallback = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    for name in RESIZES:
        packet, _, overload = name.partition(".")
        kernels.impl(name, partial(compute, getattr(getattr(aten, packet), overload or "default")), "PrivateUse1")
    fallback.fallback(compute, "PrivateUse1")
    _libraries.extend([kernels, fallback])
    torch.tensor = partial(_made_and_moved, torch.tensor)


class EmulatedTensor(Tensor):
    """A tensor that says it is on the device; its values are in `numbers`, a tensor of the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> EmulatedTensor:
        tensor = Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            device=DEVICE,
        )  # fmt: skip
        tensor.numbers = numbers
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: tuple = (), options: Any = None) -> Any:
        options = options or {}
        if _is_composed(function):  # inference mode has not decomposed it yet
            return function.decompose(*arguments, **options)
        return compute(function, *arguments, **options)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"EmulatedTensor({self.numbers})"


def compute(function: Any, *arguments: Any, **options: Any) -> Any:
    """Return the result of one operation, computed on the CPU, if CUDA could compute it.

    Raises:
        RuntimeError: its tensors are on two devices, its generator is another device's, or CUDA lacks the operation
            for such tensors.
    """
    _check(function, arguments, options)
    leaves = tree_leaves((arguments, options))
    wrappers = {id(leaf.numbers): leaf for leaf in leaves if isinstance(leaf, EmulatedTensor)}
    argument_ids = {id(leaf) for leaf in leaves if isinstance(leaf, Tensor)}
    leaves_the_device = options.get("device") is not None and torch.device(options["device"]).type == "cpu"

    def on_device(result: Any) -> Any:
        if not isinstance(result, Tensor) or leaves_the_device or id(result) in argument_ids:
            return result
        if id(result) in wrappers:
            return wrappers[id(result)]
        with torch.inference_mode(result.is_inference()):  # a view of a normal tensor stays one in inference mode
            return EmulatedTensor(result)

    result = tree_map(on_device, function(*tree_map(_on_cpu, arguments), **tree_map(_on_cpu, options)))
    if torch.Tag.inplace_view in function.tags:  # such as squeeze_: what the tensor says of its shape changes, too
        with torch._C._DisableTorchDispatch():
            function(*arguments, **options)
    if stale := [leaf for leaf in wrappers.values() if leaf.shape != leaf.numbers.shape]:
        raise NotImplementedError(f"{function} changes the shape of {stale[0]}, which the emulation cannot do.")
    return result


def _check(function: Any, arguments: tuple, options: dict[str, Any]) -> None:
    leaves = tree_leaves((arguments, options))
    if not any(isinstance(leaf, EmulatedTensor) for leaf in leaves):
        return
    if any(isinstance(leaf, torch.Generator) for leaf in leaves):
        raise RuntimeError(f"{function} must have a generator of the device, however it has one of the CPU")
    if function in COPIES:
        return
    if function in LOOKS_UP and isinstance(arguments[0], EmulatedTensor):
        leaves = tree_leaves((arguments[0], arguments[2:], options))
    if function == aten._fused_adamw_.default:
        _check_layouts(arguments[:4])
    if function in MATRIX_PRODUCTS and not (arguments[-1].is_floating_point() or arguments[-1].is_complex()):
        raise RuntimeError(f"{function} must have tensors of fractions, however they are {arguments[-1].dtype}")
    least_ndim = 0 if function in TAKES_NO_SCALARS else 1
    cpu_tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, EmulatedTensor)]
    if shapes := [tuple(leaf.shape) for leaf in cpu_tensors if leaf.ndim >= least_ndim]:
        raise RuntimeError(f"{function} must have all tensors on {DEVICE}, however {shapes} are on the CPU")


def _check_layouts(sides: Sequence[Sequence[Tensor]]) -> None:
    """Check what CUDA's fused optimiser asks for, and the CPU's does not look at: tensors of one type and layout."""
    for tensors in zip(*sides, strict=True):
        layouts = {(tensor.dtype, tuple(tensor.shape), tensor.stride()) for tensor in tensors}
        if len(layouts) > 1:
            raise RuntimeError(f"a parameter, its gradient and moments must have one layout, however got {layouts}")


@cache
def _is_composed(function: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd")


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == NAME else value
    return value.numbers if isinstance(value, EmulatedTensor) else value


def _made_and_moved(make: Callable[..., Tensor], *arguments: Any, device: Any = None, **options: Any) -> Tensor:
    """Do what torch.tensor does, which hides the tensor's class from the operations that it is made of."""
    made = make(*arguments, **options)
    return made if device is None else made.to(device)
