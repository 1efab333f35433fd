"""A head as one graph: from the vectors of the cache, or from encoders' inputs, to probabilities."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

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

    A modality's input is its vector as it is in the cache; with a network it is what the network takes. A mask beside
    it says which rows have the modality. The values of the other rows do not count, NaN included.

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
        description = self.description
        inputs = [GraphInput(f"{name}_present", name, torch.bool, (BATCH,)) for name in description.dims]
        for name, dim in description.dims.items():
            if name in self.networks:
                inputs += self._network(name).inputs
            else:
                inputs.append(GraphInput(name, name, torch.float32, (BATCH, dim)))
        for name, dim in description.token_dims.items():
            sizes = (BATCH, description.n_positions.get(name) or LENGTH)
            inputs.append(GraphInput(f"{name}_tokens", name, torch.float32, (*sizes, dim)))
            inputs.append(GraphInput(f"{name}_token_mask", name, torch.bool, sizes))
        return sorted(inputs, key=lambda graph_input: graph_input.name)

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

    Where the code that was traced lies on this machine is no part of it.

    Raises:
        ExportError: what the head or an encoder computes depends on its inputs' values, so that it is no such program.
    """
    inputs = graph.inputs
    free_sizes = {
        (graph_input.modality, LENGTH): Dim(f"{graph_input.modality}_length", min=SHORTEST, max=graph_input.longest)
        for graph_input in inputs
        if LENGTH in graph_input.sizes
    }
    free_sizes |= {(graph_input.modality, BATCH): Dim(BATCH, min=1) for graph_input in inputs}
    shapes = {
        graph_input.name: {
            axis: free_sizes[graph_input.modality, size]
            for axis, size in enumerate(graph_input.sizes)
            if isinstance(size, str)
        }
        for graph_input in inputs
    }
    try:
        with torch.no_grad():
            program = torch.export.export(
                graph.eval(),
                (),
                {"inputs": {graph_input.name: graph_input.example for graph_input in inputs}},
                dynamic_shapes={"inputs": shapes},
            )
    except Exception as error:  # torch raises errors of many kinds
        raise ExportError(
            f"Expected the head {graph.description.name!r} to be a graph that takes any number of products, but torch "
            f"finds: {shown_error(error)}. Let nothing in a class of your own follow from values or len()."
        ) from error
    for module in program.graph_module.modules():
        if isinstance(module, GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program
