"""`cached`: any model with ``encode(list)``, whose vectors a cache keeps."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from cache import EncoderSpec
from embed.encoders.device import to_host
from embed.encoders.protocol import entry_name
from embed.encoders.specs.description import Description, describe
from embed.errors import EncoderError, SettingError
from embed.extraction.in_memory.cached_vectors import CachedVectors
from embed.extraction.in_memory.held_contents import HeldContents, keyed
from embed.settings import ExtractSettings

__all__ = ["CachedModel", "cached"]

log = logging.getLogger("embed_once")

METHODS = ("encode", "encode_query", "encode_document")
# Arguments that change no vector.
NEUTRAL = ("batch_size", "chunk_size", "convert_to_numpy", "convert_to_tensor", "device", "pool", "show_progress_bar")
OUTPUTS = tuple(f"{kind} {dtype}" for dtype in ("float32", "float16", "int8", "uint8") for kind in ("array", "tensor"))
AT_ONCE = 256  # contents that the model is given at once, and that a crash can cost


def cached(
    model: Any,
    path: str | Path = "vectors.h5",
    *,
    name: str | None = None,
    spec: Mapping[str, Any] | None = None,
) -> CachedModel:
    """Return the model with an ``encode`` that keeps each content's vector in a cache, and encodes what is new alone.

    It goes around a sentence-transformers model, or any object with ``encode(list)`` that gives an array or a tensor,
    (n, D), each row from its own content alone. Vectors are found again by their content and by all that changes them:
    the model's weights, settings, tokenizer and prompts, the arguments of the call, and the code of classes that are
    not installed ones. Order, copies, dtype and shape are those of the bare model.

    Args:
        model: the bare model; it is changed in nothing.
        path: the cache; a new file where there is none.
        name: what the vectors are called in the cache; None: as the class. A digest of the spec follows.
        spec: what the model is, for one that cannot be hashed: all that changes its vectors, in JSON's types.

    Raises:
        SettingError: there is no ``encode``, or something in the model cannot be hashed and no spec is given.
    """
    return CachedModel(model, path, name=name, spec=spec)


class CachedModel:
    """A model whose ``encode`` asks a cache first, as `cached` says; all else is the model's own."""

    def __init__(
        self, model: Any, path: str | Path, *, name: str | None = None, spec: Mapping[str, Any] | None = None
    ) -> None:
        if not callable(getattr(model, "encode", None)):
            raise SettingError(
                f"Expected a model with encode(list), got {type(model).__name__}. Give an object that has it; the "
                "manual shows one in ten lines (docs/cached-encoders.md)."
            )
        self.model = model
        self._path = Path(path)
        self._name = entry_name(name, type(model).__name__)
        self._spec = None if spec is None else {"given": describe(dict(spec), "spec")}
        self._description = Description()
        self._vectors: dict[str, CachedVectors] = {}  # by spec and output
        self._outputs: dict[str, str] = {}  # by spec
        self._is_told = False
        self._model_fields()  # what cannot be hashed is told now

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # while it is unpickled
            raise AttributeError(name)
        attribute = getattr(self.model, name)
        if name in METHODS:
            return lambda *args, **kwargs: self._call(name, args, kwargs)
        return attribute

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_vectors": {}, "_description": Description()}

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the model's own ``encode`` gives for the same arguments.

        What is no vector of one content alone is not cached: token embeddings, and int8 or uint8 vectors, whose scale
        comes from their batch.

        Raises:
            SettingError: a content or an argument cannot be hashed.
            EncoderError: the model gives something other than one finite vector of up to 32 bits for each content.
            CacheError: the cache is damaged, or the disk is full.
        """
        return self._call("encode", args, kwargs)

    def _call(self, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        call = _Call.of(getattr(self.model, method), args, kwargs)
        if not call.is_of_single_contents:
            return getattr(self.model, method)(*args, **kwargs)
        is_single = self._is_single(call.contents)
        contents = [call.contents] if is_single else list(call.contents)
        if not contents:
            return getattr(self.model, method)(*args, **kwargs)
        fields = {**self._model_fields(), "method": method, "arguments": describe(call.arguments, "arguments")}
        pieces = [
            (numbers, *self._find(modality, held, fields, call))
            for modality, (numbers, held) in keyed(contents, opens_files=self._opens_files()).items()
        ]
        _, first_vectors, first_output = pieces[0]
        vectors = np.empty((len(contents), first_vectors.shape[1]), dtype=np.float32)
        for numbers, modality_vectors, _ in pieces:
            vectors[numbers] = modality_vectors
        output = call.converted(vectors, first_output, self.model)
        return output[0] if is_single else output

    def _is_single(self, contents: Any) -> bool:
        """Return whether a call is of one content, and not of a list of some, as the model judges where it can."""
        if hasattr(self.model, "is_singular_input"):
            return bool(self.model.is_singular_input(contents))
        return isinstance(contents, str | bytes | Mapping | Image.Image)

    def _find(
        self, modality: str, held: HeldContents, fields: Mapping[str, Any], call: _Call
    ) -> tuple[np.ndarray, str]:
        """Return the vectors of contents of one modality, and what kind of numbers the model gives.

        The kind is that of the last call, or that of which the cache has some of the vectors, or what the model gives
        when it is asked.
        """
        spec = EncoderSpec(modality, fields)
        output = self._outputs.get(spec.fingerprint) or next(
            (output for output in OUTPUTS if self._cached(spec, output).has_any(held)), OUTPUTS[0]
        )
        while True:
            cached_vectors = self._cached(spec, output)
            encoder = cast("_ModelEncoder", cached_vectors.encoder)
            encoder.call = lambda contents: self._evaluated(call.function(contents))
            n_batches = encoder.n_batches
            try:
                vectors, _ = cached_vectors.find(held)
            except _OtherOutput as error:
                output = error.output
                continue
            self._outputs[spec.fingerprint] = output
            if encoder.n_batches > n_batches:
                self._check_unchanged(fields)
            return vectors, output

    def _cached(self, spec: EncoderSpec, output: str) -> CachedVectors:
        """Return the cache's vectors of a spec, for one kind of output."""
        full_spec = EncoderSpec(spec.modality, {**spec.fields, "output": output})
        if full_spec.fingerprint not in self._vectors:
            encoder = _ModelEncoder(f"{self._name}-{full_spec.fingerprint[:8]}", full_spec, output)
            settings = ExtractSettings(n_workers=1)
            self._vectors[full_spec.fingerprint] = CachedVectors(self._path, [encoder], settings=settings)
        return self._vectors[full_spec.fingerprint]

    def _model_fields(self) -> dict[str, Any]:
        return dict(self._spec) if self._spec is not None else dict(self._description.fields(self.model))

    def _opens_files(self) -> bool:
        modalities = getattr(self.model, "modalities", None)
        return isinstance(modalities, list | tuple) and any(modality != "text" for modality in modalities)

    def _evaluated(self, output: Any) -> Any:
        """Return what the model gave, if it was not as in training: the same content would get another vector.

        Raises:
            EncoderError: a part of it was.
        """
        for path, part in self._description.of_two_modes.items():
            if part.training and getattr(part, "p", True):
                raise EncoderError(
                    f"Expected the model to be in evaluation mode, but {path} ({type(part).__name__}) works as in "
                    "training. Call .eval() of the network first."
                )
        return output

    def _check_unchanged(self, fields: Mapping[str, Any]) -> None:
        """Warn once where the model is not what it was before it encoded."""
        changed = [name for name, value in self._model_fields().items() if value != fields[name]]
        if changed and not self._is_told:
            self._is_told = True
            log.warning(
                "The %s of %s changed while it encoded, so that its vectors are not found again. Keep what it counts "
                "or loads elsewhere, or say what it is: embed.cached(model, spec={...}).",
                " and ".join(changed), type(self.model).__name__,
            )  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """One call of a model's method: its contents, the arguments that change vectors, and those that do not."""

    method: Callable[..., Any]
    contents: Any
    arguments: dict[str, Any]
    neutral: dict[str, Any]

    @classmethod
    def of(cls, method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Call:
        """Return the call of a method with some arguments, defaults included."""
        kwargs = dict(kwargs)
        if not args and "sentences" in kwargs:  # as sentence-transformers called it before version 6
            args = (kwargs.pop("sentences"),)
        bound = inspect.signature(method).bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        for name, parameter in bound.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name)
        contents = arguments.pop(next(iter(bound.signature.parameters)))
        neutral = {name: arguments.pop(name) for name in NEUTRAL if name in arguments}
        return cls(method, contents, arguments, neutral)

    @property
    def is_of_single_contents(self) -> bool:
        """Whether each vector comes from its own content alone: token embeddings and scaled numbers do not."""
        is_of_vectors = self.arguments.get("output_value", "sentence_embedding") == "sentence_embedding"
        return is_of_vectors and self.arguments.get("precision") not in ("int8", "uint8")

    def function(self, contents: list[Any]) -> Any:
        """Return what the method gives for some contents, as an array where it can be told to."""
        neutral = dict(self.neutral)
        for name, value in (("convert_to_numpy", True), ("convert_to_tensor", False)):
            if name in neutral:
                neutral[name] = value
        return self.method(contents, **self.arguments, **neutral)

    def converted(self, vectors: np.ndarray, output: str, model: Any) -> Any:
        """Return the vectors, (N, D), as the method would have given them."""
        kind, dtype = output.split()
        array = vectors.astype(dtype, copy=False)
        to_tensor = self.neutral.get("convert_to_tensor", False)
        if kind == "array" and not to_tensor and self.neutral.get("convert_to_numpy", True):
            return array
        tensor = torch.from_numpy(array)
        device = self.neutral.get("device") or getattr(model, "device", None)
        if isinstance(device, str | torch.device):
            tensor = tensor.to(device)
        if getattr(model, "dtype", None) == torch.bfloat16 and tensor.is_floating_point():
            tensor = tensor.to(torch.bfloat16)
        return tensor if kind == "tensor" or to_tensor else list(tensor)


class _OtherOutput(Exception):  # noqa: N818 - it is no error: the model is asked again
    """The model gives another kind of array than was thought."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


class _ModelEncoder:
    """A model as an `Encoder`: contents are given to it as they are."""

    batch_size = AT_ONCE

    def __init__(self, name: str, spec: EncoderSpec, output: str) -> None:
        self.name = name
        self.spec = spec
        self.output = output
        self.call: Callable[[list[Any]], Any] = list  # set before each use
        self.n_batches = 0

    def prepare(self, content: Any) -> Any:
        return content

    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        self.n_batches += 1
        vectors = self.call(list(batch))
        kind = "tensor" if isinstance(vectors, torch.Tensor) else "array"
        if isinstance(vectors, torch.Tensor):
            vectors = to_host(vectors.detach())
            vectors = (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()
        dtype = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        output = f"{kind} {dtype}"
        if output not in OUTPUTS or vectors.ndim != 2 or len(vectors) != len(batch):
            raise EncoderError(
                f"Expected encode to give {len(batch)} vectors as an array or tensor of float32, float16, int8 or "
                f"uint8, got {dtype} of shape {getattr(vectors, 'shape', None)}. Have it return such."
            )
        if output != self.output:
            raise _OtherOutput(output)
        return vectors.astype(np.float32)
