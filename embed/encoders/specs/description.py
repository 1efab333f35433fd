"""What a model in memory is, as data that can be hashed: its weights, its settings, and the code that is a user's."""

from __future__ import annotations

import builtins
import copyreg
import enum
import functools
import hashlib
import json
import os
import re
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from embed.encoders.device import to_host
from embed.encoders.specs.user_code import all_names, code_as_data, global_names, is_of_a_library, parts_of
from embed.errors import SettingError

__all__ = ["Description", "describe"]

MODULE_INTERNALS = frozenset(vars(nn.Module())) - {"_forward_hooks", "_forward_pre_hooks"}
# What libraries keep that changes no vector: where from, by which release, on what device, for a page on the
# hub, and what they remember of earlier calls.
IGNORED_ATTRIBUTES = frozenset({
    "_chat_template_suffix_cache", "_device_map", "_method_signature_cache", "_model_card_text", "_model_card_vars",
    "_model_config", "_modules_placed", "_name_or_path", "_pair_role_probe", "_prompt_length_mapping", "_similarity",
    "_similarity_fn_name", "_similarity_pairwise", "default_cfg", "deprecation_warnings", "device", "dtype",
    "files_loaded", "generation_config", "is_local", "local_files_only", "model_card_data", "module_kwargs",
    "name_or_path", "pretrained_cfg", "torch_dtype", "transformers_version", "warnings_issued",
})  # fmt: skip
# Whether a module is in training is no setting, for what encodes may change it first; these then work otherwise.
OF_TWO_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
N_LOOKED_AT = 64  # numbers of a tensor, to tell whether it was written to
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, np.ufunc)


class Description:
    """Describes one model again and again; the digests of tensors that have not changed are kept."""

    def __init__(self) -> None:
        self._digests: dict[str, tuple[weakref.ref[Tensor], tuple[Any, ...], str]] = {}
        self.of_two_modes: dict[str, nn.Module] = {}  # by path: parts that work otherwise while a model is trained

    def fields(self, model: object) -> dict[str, str]:
        """Return the model's class, and the SHA-256 of its weights and of all else that it is made of.

        Raises:
            SettingError: something in it cannot be hashed.
        """
        describer = _Describer(self._digests)
        settings = describer.describe(model, "model")
        self.of_two_modes = describer.of_two_modes
        return {"class": _name(type(model)), "weights": _sha256(describer.weights), "settings": _sha256(settings)}


def describe(value: object, path: str) -> Any:
    """Return a value as JSON's types, which are the same for what is the same; `path` names it in messages.

    Raises:
        SettingError: it cannot be described.
    """
    return _Describer({}).describe(value, path)


class _Describer:
    """Describes values, once; digests of tensors that have not changed are taken from `digests`."""

    def __init__(self, digests: dict[str, tuple[weakref.ref[Tensor], tuple[Any, ...], str]]) -> None:
        self.digests = digests
        self.weights: dict[str, str] = {}  # the tensors of networks, by path
        self.of_two_modes: dict[str, nn.Module] = {}
        self._above: set[int] = set()  # ids of what is being described

    def describe(self, value: Any, path: str) -> Any:
        if isinstance(value, enum.Enum) and not is_of_a_library(type(value).__module__):
            return [value.name, self.describe(value.value, path)]
        if value is None or isinstance(value, bool | int | str):
            return value.name if isinstance(value, enum.Enum) else value
        if isinstance(value, float | complex):
            return repr(value)
        if isinstance(value, bytes | bytearray):
            return hashlib.sha256(value).hexdigest()
        if isinstance(value, Tensor):
            return _digest(value, path)
        if isinstance(value, np.generic | np.ndarray) and value.dtype != object:
            return [str(value.dtype), list(value.shape), hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()]
        if isinstance(value, torch.device):
            return "device"
        if isinstance(value, enum.Enum | torch.dtype | torch.Size | re.Pattern | range | slice):
            return str(value)
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if id(value) in self._above:
            return "circle"
        self._above.add(id(value))
        try:
            return self._inner(value, path)
        finally:
            self._above.discard(id(value))

    def _inner(self, value: Any, path: str) -> Any:
        """Describe a value that may hold others, itself among them."""
        if isinstance(value, Mapping):
            pairs = [[self.describe(key, path), self.describe(item, f"{path}[{key!r}]")] for key, item in value.items()]
            return sorted(pairs, key=_text)
        if isinstance(value, set | frozenset):
            return sorted((self.describe(item, path) for item in value), key=_text)
        if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
            return [self.describe(item, f"{path}[{number}]") for number, item in enumerate(value)]
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, type):
            return self._class(value, path)
        if isinstance(value, types.MethodType):
            return [self.describe(value.__func__, path), self.describe(value.__self__, path)]
        if isinstance(value, functools.partial):
            return [self.describe(part, path) for part in (value.func, value.args, value.keywords)]
        if isinstance(value, FUNCTIONS):
            return self._function(value, path)
        if isinstance(value, Image.Image):
            exif = value.getexif().tobytes()
            return self.describe(
                [value.mode, value.size, value.getpalette(), value.tobytes(), exif, value.info.get("transparency")],
                path,
            )
        return [self._class(type(value), path), self._state(value, path)]

    def _state(self, value: Any, path: str) -> Any:
        """Describe what an object of any class has in it."""
        if isinstance(value, nn.Module):
            if isinstance(value, OF_TWO_MODES):
                self.of_two_modes[path] = value
            for name, tensor in [*value._parameters.items(), *value._buffers.items()]:
                if tensor is not None:
                    self.weights[f"{path}.{name}"] = self._weight(tensor, f"{path}.{name}")
            settings = {name: setting for name, setting in vars(value).items() if name not in MODULE_INTERNALS}
            is_library = is_of_a_library(type(value).__module__)
            return [self._attributes(settings, path, is_library=is_library), self._attributes(value._modules, path)]
        if hasattr(value, "get_vocab") and hasattr(value, "special_tokens_map"):
            return self._tokenizer(value, path)
        if type(value).__module__.startswith("transformers.") and hasattr(value, "to_dict"):
            return self._attributes(value.to_dict(), path)
        if type(value).__module__.partition(".")[0] == "tokenizers" and hasattr(value, "to_str"):
            return _without_padding(value.to_str())
        try:
            reduced = value.__reduce_ex__(4)  # as it is pickled, so that what C keeps is not overlooked
        except Exception as error:  # what refuses to be pickled does so in any way
            raise SettingError(
                f"Expected all that changes the vectors to be data that can be hashed, but {path} is "
                f"{_name(type(value))}, which is not. Say what the model is: embed.cached(model, "
                'spec={"model": "its name and version"}).'
            ) from error
        if isinstance(reduced, str):  # the name of a global, such as a function behind `functools.lru_cache`
            return [reduced, self.describe(getattr(value, "__wrapped__", None), path)]
        make, args, *state = reduced
        if isinstance(state[0] if state else None, dict):
            state[0] = self._attributes(state[0], path, is_library=is_of_a_library(type(value).__module__))
        args = args[1:] if make is copyreg.__newobj__ else args  # type: ignore[attr-defined]
        return self.describe([args, *(list(part) if isinstance(part, Iterator) else part for part in state)], path)

    def _attributes(self, values: Mapping[str, Any], path: str, *, is_library: bool = True) -> Any:
        """Describe named values; those of libraries without what changes no vector."""
        return {
            str(name): self.describe(value, f"{path}.{name}")
            for name, value in sorted(values.items(), key=lambda pair: str(pair[0]))
            if not (is_library and name in IGNORED_ATTRIBUTES)
        }

    def _tokenizer(self, value: Any, path: str) -> Any:
        """Describe a Hugging Face tokenizer; how it pads and cuts is set anew by each call."""
        backend = getattr(value, "backend_tokenizer", None)
        model = getattr(value, "sp_model", None)
        parts = {
            "backend": None if backend is None else _without_padding(backend.to_str()),
            "pieces": None if model is None else model.serialized_model_proto(),
            "slow": [value.get_vocab(), value.init_kwargs] if backend is None else None,  # a backend says all by itself
            "special": value.special_tokens_map,
            "longest": value.model_max_length,
            "sides": [value.padding_side, value.truncation_side],
            "inputs": value.model_input_names,
        }
        return self._attributes(parts, path)

    def _class(self, kind: type, path: str) -> Any:
        """Name a class; of a user's, whose version nobody tells, also describe the code and what else stands in it."""
        description: list[Any] = [_name(kind)]
        if issubclass(kind, enum.Enum):
            description += [[member.name, self.describe(member.value, path)] for member in kind]
        for base in kind.__mro__:
            if is_of_a_library(base.__module__) or getattr(builtins, base.__name__, None) is base:
                continue
            for name, attribute in sorted(vars(base).items()):
                if name != "__init__":  # what it did is in the attributes
                    parts = parts_of(name, attribute, has_values=not issubclass(kind, enum.Enum))
                    description += [[name, self.describe(part, f"{path}.{name}")] for part in parts]
        return description

    def _function(self, function: Any, path: str) -> Any:
        """Name a function; of a user's also describe its code and what that takes from outside."""
        module = getattr(function, "__module__", None) or "builtins"
        if not isinstance(function, types.FunctionType) or is_of_a_library(module):
            return f"{module}.{getattr(function, '__qualname__', function.__name__)}"
        names = {name for name in global_names(function.__code__) if name in function.__globals__}
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        return [
            code_as_data(function.__code__),
            {
                name: self._used(function.__globals__[name], all_names(function.__code__), f"{path} → {name}")
                for name in sorted(names)
            },
            [self.describe(part, path) for part in (cells, function.__defaults__, function.__kwdefaults__)],
        ]

    def _used(self, value: Any, names: set[str], path: str) -> Any:
        """Describe what code takes from outside; of a user's module what it has of the names that the code says."""
        if not isinstance(value, types.ModuleType) or is_of_a_library(value.__name__) or id(value) in self._above:
            return self.describe(value, path)
        self._above.add(id(value))
        try:
            inside = {name: vars(value)[name] for name in sorted(names & vars(value).keys())}
            return [value.__name__, {name: self._used(part, names, f"{path}.{name}") for name, part in inside.items()}]
        finally:
            self._above.discard(id(value))

    def _weight(self, tensor: Tensor, path: str) -> str:
        """Return a tensor's digest, anew where it is another, or was written to."""
        if tensor.is_meta or tensor.layout != torch.strided:
            raise SettingError(
                f"Expected the weights to be in memory, but {path} is {tensor.layout} on {tensor.device}. Load the "
                'model whole, or say what it is: embed.cached(model, spec={"model": "its name and version"}).'
            )
        # Writing to .data counts no version, but hardly leaves numbers from all over as they were.
        numbers = tensor.detach().reshape(-1)[:: max(1, tensor.numel() // N_LOOKED_AT)].tolist()
        stamp = (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version, tensor.dtype, numbers)
        reference, old_stamp, digest = self.digests.get(path, (None, None, ""))
        if reference is None or reference() is not tensor or old_stamp != stamp:
            digest = _digest(tensor, path)
            self.digests[path] = (weakref.ref(tensor), stamp, digest)
        return digest


def _digest(tensor: Tensor, path: str) -> str:
    values = to_host(tensor.detach()).contiguous()
    try:
        content = values.flatten().view(torch.uint8).numpy().tobytes() if values.numel() else b""
    except RuntimeError as error:
        raise SettingError(
            f"Expected {path} to be plain numbers, got {values.dtype}. Say what the model is: embed.cached(model, "
            'spec={"model": "its name and version"}).'
        ) from error
    return f"{values.dtype} {tuple(values.shape)} sha256:{hashlib.sha256(content).hexdigest()}"


@functools.lru_cache(maxsize=16)
def _without_padding(text: str) -> str:
    """Return the digest of a tokenizer's JSON without how it pads and cuts, which each call sets anew."""
    tokenizer = json.loads(text)
    return _sha256({name: part for name, part in tokenizer.items() if name not in ("padding", "truncation")})


def _is_filled(cell: types.CellType) -> bool:
    """Return whether a closure's cell holds something; one that is still empty raises."""
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _sha256(value: object) -> str:
    return hashlib.sha256(_text(value).encode("utf-8", "surrogatepass")).hexdigest()
