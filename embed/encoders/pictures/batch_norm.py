"""Batch norm that follows a convolution, made part of it: the same function in fewer passes over the map."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.nn.utils import fuse_conv_bn_eval

__all__ = ["fuse_batch_norm"]

LayerT = TypeVar("LayerT", bound=nn.Module)


def fuse_batch_norm(model: nn.Module) -> GraphModule:
    """Return a network in evaluation mode as a traced one, whose convolutions have taken in their batch norms.

    It shares what it leaves as it is with `model`, whose own convolutions are replaced.
    """
    traced = symbolic_trace(model)
    for node in list(traced.graph.nodes):
        norm = _layer(nn.BatchNorm2d, traced, node)
        if norm is None or not norm.track_running_stats:
            continue
        (before,) = node.all_input_nodes
        convolution = _layer(nn.Conv2d, traced, before)
        if convolution is None or len(before.users) > 1:  # others want what comes before the norm
            continue
        traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _layer(kind: type[LayerT], model: GraphModule, node: Node) -> LayerT | None:
    """Return the layer that a node calls, where it is of this very kind."""
    layer = model.get_submodule(str(node.target)) if node.op == "call_module" else None
    return layer if type(layer) is kind else None
