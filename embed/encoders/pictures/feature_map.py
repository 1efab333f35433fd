"""The feature map whose mean is a network's pooled vector: tokens for attention, one a cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from embed.errors import SettingError

__all__ = ["cells", "keep_feature_map"]


def keep_feature_map(model: GraphModule, *, name: str) -> None:
    """Make a traced network return its pooled vector (B, D) and the map (B, D, H, W) that it is the mean of.

    Raises:
        SettingError: the network's vector is not the mean of a map.
    """
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    vector = node = output.args[0]
    while _changes_nothing(model, node):
        node = node.args[0]
    if not _is_mean(model, node):
        raise SettingError(
            f"--tokens needs a network whose vector is the mean of a feature map, as ResNet's is, but that of {name} "
            "is not. Leave --tokens out, or choose another --image-encoder."
        )
    output.args = ((vector, node.args[0]),)
    model.recompile()


def cells(feature_map: Tensor, grid: tuple[int, int] | None) -> Tensor:
    """Return a map's cells row by row, averaged to a grid where one is given.

    Shape:
        feature_map: (B, D, H, W)
        output: (B, T, D) with T = H W, or the grid's rows times columns
    """
    if grid is not None:
        feature_map = F.adaptive_avg_pool2d(feature_map.float(), grid)
    return feature_map.flatten(2).transpose(1, 2)


def _changes_nothing(model: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return isinstance(model.get_submodule(str(node.target)), nn.Identity | nn.Dropout | nn.Flatten)
    return node.target in (torch.flatten, F.dropout, "flatten")


def _is_mean(model: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))
    if node.target is F.adaptive_avg_pool2d:
        return node.args[1] in (1, (1, 1))
    return node.op == "call_method" and node.target == "mean" and list(node.args[1]) == [2, 3]  # type: ignore[arg-type]
