"""Finding the tensors of a module that no optimiser sees and no file keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

__all__ = ["unregistered"]

_OWN = frozenset(vars(nn.Module()))  # where a module keeps what is registered


def unregistered(head: nn.Module) -> list[str]:
    """Return where there are tensors that want a gradient and are not among the head's parameters.

    Looked for in the attributes of all its modules, also within lists, tuples, sets and dictionaries. To be asked
    before the head is first called: what a call leaves behind wants gradients too.

    >>> head = nn.Module()
    >>> head.factors = [nn.Parameter(Tensor(2)), nn.Linear(3, 4, bias=False)]
    >>> unregistered(head)
    ['factors[0]', 'factors[1].weight']
    """
    registered = {id(parameter) for parameter in head.parameters()}
    places_by_id: dict[int, str] = {}
    for name, module in head.named_modules():
        prefix = f"{name}." if name else ""
        attributes = [(key, value) for key, value in vars(module).items() if key not in _OWN]
        for key, value in [*attributes, *module.named_buffers(recurse=False)]:
            for place, tensor in _tensors(value, prefix + key, frozenset()):
                if tensor.requires_grad and id(tensor) not in registered:
                    places_by_id.setdefault(id(tensor), place)
    return list(places_by_id.values())


def _tensors(value: object, place: str, above: frozenset[int]) -> Iterator[tuple[str, Tensor]]:
    if id(value) in above:
        return  # a container that holds itself
    above |= {id(value)}
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, nn.Module):
        yield from ((f"{place}.{name}", parameter) for name, parameter in value.named_parameters())
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{place}[{key!r}]", above)
    elif isinstance(value, list | tuple | set | frozenset):
        for n, item in enumerate(value):
            yield from _tensors(item, f"{place}[{n}]", above)
