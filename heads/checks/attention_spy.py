"""Watching a head's attention at work: whether its output depends on the query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["AttentionCalls"]

_SOFTMAXES = (torch.softmax, Tensor.softmax, F.softmax)
_KEYS_AT = {F.multi_head_attention_forward: 0, F.scaled_dot_product_attention: -2}  # the axis of the keys
ROUNDING = 1e-5  # relative to the output; what follows from the query is far above it


class AttentionCalls(TorchFunctionMode):
    """While it is active, every attention in PyTorch is called once more with a random query.

    The output must change. Of a softmax only the number of entries is checked: over one entry it is always 1.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator
        self.n_calls = 0
        self.defects: list[str] = []

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        answer = func(*args, **kwargs)
        if func in _SOFTMAXES:
            self._check_softmax(answer, args[1] if len(args) > 1 else kwargs.get("dim"))
        elif func in _KEYS_AT:
            parts = dict(zip(("query", "key", "value"), args, strict=False))
            kwargs |= parts
            self._query_again(func, kwargs, args[len(parts) :], answer)
        return answer

    def _check_softmax(self, weights: Tensor, dim: int | None) -> None:
        if dim is not None and weights.shape[dim] == 1:
            self.defects.append("a softmax goes over one entry, and is 1 whatever is asked")

    def _query_again(self, func: Callable, parts: dict, other_arguments: Sequence[Any], answer: Any) -> None:
        self.n_calls += 1
        query = parts.pop("query")
        key, value = parts.pop("key"), parts.pop("value")
        scale = max(1.0, float(query.detach().abs().max()))  # a learned query may begin with zeros
        random_query = torch.randn(query.shape, generator=self.generator, dtype=query.dtype) * scale
        with torch.no_grad():
            attended, attended_again = (
                result[0] if isinstance(result, tuple) else result
                for result in (answer, func(random_query, key, value, *other_arguments, **parts))
            )
            difference = (attended - attended_again).abs().max()
            if difference <= ROUNDING * attended.abs().max():
                n_keys = key.shape[_KEYS_AT[func]]
                keys = "a single key" if n_keys == 1 else f"{n_keys} keys (alike, or all but one masked?)"
                self.defects.append(f"attention over {keys} answers the same whatever is asked")
