"""Finding the tensors of a module that no optimiser sees and no file keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

__all__ = ["unregistered"]

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))  # in which every module keeps what is registered


def unregistered(head: nn.Module) -> list[str]:
    """Return the attribute paths of tensors that want a gradient and are not among the head's parameters.

    All attributes of its modules are searched, also within lists, tuples, sets and dictionaries. Call it before the
    head is first called: what a call leaves behind wants gradients too.

    >>> head = nn.Module()
    >>> head.factors = [nn.Parameter(Tensor(2)), nn.Linear(3, 4, bias=False)]
    >>> unregistered(head)
    ['factors[0]', 'factors[1].weight']
    """
    registered = {id(parameter) for parameter in head.parameters()}
    paths_by_id: dict[int, str] = {}
    for name, module in head.named_modules():
        prefix = f"{name}." if name else ""
        attributes = [(key, value) for key, value in vars(module).items() if key not in _MODULE_ATTRIBUTES]
        for key, value in [*attributes, *module.named_buffers(recurse=False)]:
            for path, tensor in _tensors(value, prefix + key, frozenset()):
                if tensor.requires_grad and id(tensor) not in registered:
                    paths_by_id.setdefault(id(tensor), path)
    return list(paths_by_id.values())


def _tensors(value: object, path: str, above: frozenset[int]) -> Iterator[tuple[str, Tensor]]:
    if id(value) in above:
        return  # a container that holds itself
    above |= {id(value)}
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, nn.Module):
        yield from ((f"{path}.{name}", parameter) for name, parameter in value.named_parameters())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{path}[{key!r}]", above)
    elif isinstance(value, list | tuple | set | frozenset):
        for n, item in enumerate(value):
            yield from _tensors(item, f"{path}[{n}]", above)
