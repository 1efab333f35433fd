"""The formats that a head is exported in. None of their code is imported here.

A new format is a file in `heads.export` and a line below. The file has two functions: ``write(program, path, facts)``
writes a `torch.export.ExportedProgram` with the facts about it, {name: text}; ``load_answer(path)`` returns a function
that answers by the file, from {input's name: tensor} to probabilities and log-probabilities, (B, K) each.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from heads.errors import ExportError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMATS", "Answer", "Format"]

Answer: TypeAlias = "Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]"


@dataclass(frozen=True)
class Format:
    """A format by its name."""

    name: str
    module: str  # where its code is
    packages: tuple[str, ...] = ()  # that it needs, of the extra `export`

    @property
    def file_name(self) -> str:
        """What the file is called."""
        return f"model.{self.name}"

    def code(self) -> Any:
        """Return the format's module.

        Raises:
            ExportError: a package that it needs is not installed.
        """
        uninstalled = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if uninstalled:
            raise ExportError(
                f"Expected {', '.join(uninstalled)} to be installed for --format {self.name}, but there is none here. "
                "Install what it needs with pip install 'embed-once[export]'."
            )
        return import_module(self.module)


FORMATS = {
    "onnx": Format("onnx", "heads.export.onnx_file", ("onnx", "onnxruntime", "onnxscript")),
    "pt2": Format("pt2", "heads.export.torch_program"),
}
