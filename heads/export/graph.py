"""A head as one graph: from the vectors of the cache, or from what encoders look at, to probabilities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from heads.data.tokens import TokenBatch
from heads.errors import ExportError
from heads.export.graph_input import BATCH, LENGTH, SHORTEST, GraphInput
from heads.export.networks import Network
from heads.modules.ensemble import as_log_probabilities
from heads.modules.plugin import shown_error
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["OUTPUTS", "HeadGraph", "trace"]

OUTPUTS = ("probabilities", "log_probabilities")


class HeadGraph(nn.Module):
    """Standardise, and answer with probabilities and their logarithms.

    A modality's input is its vector as it is in the cache; with a network it is what the network takes. Beside each
    stands who has it. What stands where a modality is absent does not count, NaN included.

    Shape:
        inputs: {input's name: tensor}, see `inputs`; {modality}_present is (B,) bool
        output: (B, K) float32 probabilities and log-probabilities
    """

    def __init__(self, head: TrainedHead, networks: Mapping[str, Network] | None = None) -> None:
        super().__init__()
        self.description = head.description
        self.networks = nn.ModuleDict(networks or {})
        self.standardise = copy.deepcopy(head.standardise)
        self.module = copy.deepcopy(head.module)
        for part in self.module.modules():
            if callable(prepare := getattr(part, "before_export", None)):
                prepare()

    @property
    def inputs(self) -> list[GraphInput]:
        """What the graph takes, sorted by name."""
        described = self.description
        inputs = [GraphInput(f"{name}_present", name, torch.bool, (BATCH,)) for name in described.dims]
        for name, dim in described.dims.items():
            if name in self.networks:
                inputs += self._network(name).inputs
            else:
                inputs.append(GraphInput(name, name, torch.float32, (BATCH, dim)))
        for name, dim in described.token_dims.items():
            sizes = (BATCH, described.n_positions.get(name) or LENGTH)
            inputs.append(GraphInput(f"{name}_tokens", name, torch.float32, (*sizes, dim)))
            inputs.append(GraphInput(f"{name}_token_mask", name, torch.bool, sizes))
        return sorted(inputs, key=lambda one: one.name)

    def _network(self, modality: str) -> Network:
        network = self.networks[modality]
        assert isinstance(network, Network)  # noqa: S101 - to nn.ModuleDict it is any module
        return network

    def vectors(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each modality's vectors, {modality: (B, D)}."""
        return {
            name: self.networks[name](inputs) if name in self.networks else inputs[name]
            for name in self.description.dims
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        present = {name: inputs[f"{name}_present"] for name in self.description.dims}
        arguments: list[Any] = [self.standardise(self.vectors(inputs), present), present]
        if self.description.token_dims:
            tokens = {
                name: TokenBatch(inputs[f"{name}_tokens"], inputs[f"{name}_token_mask"])
                for name in self.description.token_dims
            }
            arguments.append(self.standardise.tokens(tokens))
        logs = as_log_probabilities(self.module, self.module(*arguments))
        return logs.exp(), logs


def trace(graph: HeadGraph) -> ExportedProgram:
    """Return the graph as a program of tensor operations, which takes any number of rows.

    Raises:
        ExportError: the head, or an encoder, does what follows from its inputs' values, so that it is no such program.
    """
    inputs = graph.inputs
    free = {
        (one.modality, LENGTH): Dim(f"{one.modality}_length", min=SHORTEST, max=one.longest)
        for one in inputs
        if LENGTH in one.sizes
    }
    free |= {(one.modality, BATCH): Dim(BATCH, min=1) for one in inputs}
    shapes = {
        one.name: {place: free[one.modality, size] for place, size in enumerate(one.sizes) if isinstance(size, str)}
        for one in inputs
    }
    try:
        with torch.no_grad():
            return torch.export.export(
                graph.eval(),
                (),
                {"inputs": {one.name: one.example for one in inputs}},
                dynamic_shapes={"inputs": shapes},
            )
    except Exception as error:  # torch raises of many kinds
        raise ExportError(
            f"Expected the head {graph.description.name!r} to be a graph that takes any number of products, but torch "
            f"finds: {shown_error(error)}. Let nothing in a class of your own follow from values or len()."
        ) from error
