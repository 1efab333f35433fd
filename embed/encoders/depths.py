"""Several depths of one network from one forward pass: what blocks before the last give, pooled as the last is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.fx import GraphModule

from cache import EncoderSpec
from embed.encoders.derived_encoder import DerivedEncoder
from embed.errors import SettingError, WeightsError

__all__ = ["BlockStates", "DepthEncoder", "evenly_spread", "keep_stages", "share_networks"]

DEPTH = "depth"  # among a spec's fields
N_STAGES = 4  # of a ResNet, layer1 to layer4


def evenly_spread(n_blocks: int, n_layers: int) -> tuple[int, ...]:
    """Return the numbers of blocks, counted from 1, that are evenly spread with the last, which is left out.

    >>> evenly_spread(12, 4), evenly_spread(6, 4), evenly_spread(4, 9), evenly_spread(12, 1)
    ((3, 6, 9), (2, 3, 5), (1, 2, 3), ())
    """
    n_layers = min(n_layers, n_blocks)
    return tuple(-(-number * n_blocks // n_layers) for number in range(1, n_layers))


class DepthEncoder(DerivedEncoder):
    """One depth of a network: it takes what the whole encoder takes, and gives what that has beside its own vectors."""

    def __init__(self, whole: Any, depth: str) -> None:
        super().__init__(whole, depth)
        self.depth = depth

    @property
    def spec(self) -> EncoderSpec:
        """The whole encoder's, with the depth."""
        return self.spec_with(DEPTH, self.depth)

    @property
    def model(self) -> Any:
        """The network, loaded."""
        return self.whole.model

    def prepare(self, content: Any) -> Any:
        """Return one content ready for a batch."""
        return self.whole.prepare(content)

    def prepare_decoded(self, picture: Any) -> Any:
        """Return what `prepare` does, of what `decode` returned."""
        return self.whole.prepare_decoded(picture)

    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        """Return the pooled states of this depth, (B, D) float32."""
        return self.whole.encode(batch).beside[self.depth]

    @classmethod
    def of_spec(cls, whole: Any, spec: EncoderSpec) -> Any:
        """Return the encoder of a spec: the whole, or the depth of it that the spec names.

        Raises:
            SettingError: there is no such depth.
        """
        if (depth := spec.fields.get(DEPTH)) is None:
            return whole
        depths = whole.all_depths()
        if depth not in depths:
            raise SettingError(
                f"Expected {whole.name} to have the depth {depth!r}, but it has {', '.join(depths) or 'no other'}."
            )
        whole.depths = (str(depth),)
        return cls(whole, str(depth))


def share_networks(encoders: Sequence[Any]) -> None:
    """Let encoders that are depths of the same network, none loaded yet, have one between them."""
    depth_encoders = [encoder for encoder in encoders if isinstance(encoder, DepthEncoder)]
    wholes: dict[str, Any] = {
        encoder.spec.fingerprint: encoder for encoder in encoders if not isinstance(encoder, DepthEncoder)
    }
    for encoder in depth_encoders:
        whole = encoder.whole = wholes.setdefault(encoder.whole.spec.fingerprint, encoder.whole)
        whole.depths = tuple(dict.fromkeys((*whole.depths, encoder.depth)))


class BlockStates:
    """What chosen blocks of a transformer give, noted for each thread that asks while it calls the network."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def watch(self, model: nn.Module, *, n_blocks: int, depths: Sequence[str]) -> None:
        """Look at some blocks of a network, by their numbers, counted from 1; there are `n_blocks` in a list.

        Raises:
            WeightsError: there is no such list.
        """
        if not depths:
            return
        blocks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == n_blocks]
        if not blocks:
            raise WeightsError(
                f"Expected {type(model).__name__} to have a list of {n_blocks} blocks for --layers, but it has none. "
                "Leave --layers out, or choose another encoder."
            )
        for depth in depths:
            blocks[0][int(depth) - 1].register_forward_hook(partial(self._note, depth))

    @contextmanager
    def noted(self) -> Iterator[dict[str, Tensor]]:
        """Yield a dictionary in which the states of each depth, (B, L, D), stand once the network was called."""
        self._thread.states = states = dict[str, Tensor]()
        try:
            yield states
        finally:
            self._thread.states = None

    def _note(self, depth: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        states = getattr(self._thread, "states", None)
        if states is not None:
            states[depth] = output[0] if isinstance(output, tuple) else output


def keep_stages(model: GraphModule, depths: Sequence[str]) -> None:
    """Make a traced ResNet return, beside what it returns, the maps of some stages: {stage: (B, D, H, W)}."""
    nodes = list(model.graph.nodes)
    stages = {}
    for depth in depths:
        next_stage = f"layer{int(depth.removeprefix('layer')) + 1}."  # whose first module takes the map of this one
        stages[depth] = next(
            node.args[0] for node in nodes if node.op == "call_module" and str(node.target).startswith(next_stage)
        )
    (output,) = (node for node in nodes if node.op == "output")
    output.args = ((output.args[0], stages),)
    model.recompile()
