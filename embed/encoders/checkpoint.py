"""`Checkpoint`: a Hugging Face model as a folder holds it: its config, its weights, and what a spec says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from embed.encoders.weights import expecting, files_sha256, huggingface_folder, origin_fields, seeded
from embed.errors import SettingError, WeightsError

__all__ = ["Checkpoint", "features_of", "find_checkpoint"]

READ_ERRORS = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)  # of damaged folders


@dataclass(frozen=True)
class Checkpoint:
    """A model's config and where its weights come from: the folder, or a seed."""

    folder: Path | None  # None: random weights of an architecture that needs no file
    config: Any  # transformers' config object
    is_random: bool
    seed: int
    usual_name: str

    @property
    def model_class(self) -> Any:
        """The class that `AutoModel` makes of the config, None where it knows none."""
        model_class = transformers.MODEL_MAPPING.get(type(self.config), None)
        return model_class[0] if isinstance(model_class, list | tuple) else model_class

    @property
    def has_two_towers(self) -> bool:
        """Whether the model maps pictures and texts into one space, as CLIP does."""
        if not hasattr(self.config, "text_config"):  # else the class would be imported for nothing
            return False
        return all(hasattr(self.model_class, name) for name in ("get_image_features", "get_text_features"))

    def fields(self) -> dict[str, object]:
        """Return what an encoder's spec says of the model."""
        config = "defaults" if self.folder is None else "sha256:" + files_sha256([self.folder / "config.json"])
        fields: dict[str, object] = {"architecture": f"transformers/{type(self.config).__name__}", "config": config}
        paths = [] if self.is_random or self.folder is None else list(self.folder.glob("model*.safetensors"))
        return fields | origin_fields(paths, seed=self.seed, library=f"transformers {transformers.__version__}")

    def load(self, *, needs_pooler: Callable[[nn.Module], bool]) -> nn.Module:
        """Return the network in evaluation mode, in fp32 on the CPU.

        Weights of models for other tasks often lack the pooler's; `needs_pooler` says whether that counts.

        Raises:
            WeightsError: the folder's tensors do not fit its architecture.
        """
        with seeded(self.seed):
            model = self._draw() if self.is_random else self._read(needs_pooler)
        return model.eval().requires_grad_(False)

    def _draw(self) -> nn.Module:
        with expecting(f"{self.folder} to describe a network", errors=(ValueError, TypeError, RuntimeError)):
            return transformers.AutoModel.from_config(self.config, trust_remote_code=False)

    def _read(self, needs_pooler: Callable[[nn.Module], bool]) -> nn.Module:
        with expecting(f"{self.folder} to hold a Hugging Face encoder", errors=READ_ERRORS):
            model, report = transformers.AutoModel.from_pretrained(
                self.folder,
                config=self.config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report names them
            )
        lacking = sorted(report["missing_keys"])
        if not needs_pooler(model):
            lacking = [name for name in lacking if not name.startswith("pooler.")]
        lacking += sorted(str(key[0]) for key in report["mismatched_keys"])
        if lacking:
            raise WeightsError(
                f"Expected {self.folder} to hold all weights of its architecture, but {', '.join(lacking[:3])} "
                f"{'is' if len(lacking) == 1 else 'are'} missing or of another shape."
            )
        return model


def find_checkpoint(model_name: str, *, modality: str, weights: str, seed: int) -> Checkpoint:
    """Return the checkpoint of a local folder or of a name on the hub; `weights` is ``pretrained`` or ``random``.

    Raises:
        SettingError: the weights are neither.
        WeightsError: they cannot be had, or the config is of no known architecture.
    """
    if weights not in ("pretrained", "random"):
        raise SettingError(
            f"--{modality}-weights: expected pretrained or random for {model_name}, got {weights!r}. Local weights "
            f"are named by their folder: --{modality}-encoder FOLDER."
        )
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = Path(model_name) if Path(model_name).is_dir() else None
    name = model_name.rpartition("/")[2] if folder is None else folder.resolve().name
    is_random = weights == "random"
    if not is_random:
        folder = huggingface_folder(model_name, modality=modality)
    return Checkpoint(
        folder=folder,
        config=_config(model_name, folder, modality=modality),
        is_random=is_random,
        seed=seed,
        usual_name=name + ("-random" if is_random else ""),
    )


def features_of(output: Any) -> torch.Tensor:
    """Return the (B, D) features that one tower of two gave.

    Raises:
        WeightsError: it gave something else, such as one vector for each token.
    """
    features = output if isinstance(output, torch.Tensor) else output.pooler_output  # the output of older releases
    if features is None or features.ndim != 2:
        raise WeightsError(
            "Expected a model with two towers to give one vector for each picture and text, but this one gives "
            f"{'none' if features is None else f'a tensor of shape {tuple(features.shape)}'}. Use another model."
        )
    return features


def _config(model_name: str, folder: Path | None, *, modality: str) -> Any:
    if folder is None and modality == "text" and model_name == "bert-base-uncased":
        return transformers.BertConfig()  # its defaults are BERT-base
    if folder is None:
        usual = "bert-base-uncased or a folder" if modality == "text" else "a name of torchvision's or a folder"
        raise WeightsError(f"Random weights need an architecture: {usual} with config.json, but got {model_name!r}.")
    with expecting(f"{folder} to hold the config.json of a known architecture"):  # errors of any kind
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
