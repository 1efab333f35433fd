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

from embed.encoders.weights import files_sha256, huggingface_folder, seeded
from embed.errors import SettingError, WeightsError

__all__ = ["Checkpoint", "features_of", "find_checkpoint"]


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
        found = transformers.MODEL_MAPPING.get(type(self.config), None)
        return found[0] if isinstance(found, list | tuple) else found

    @property
    def has_two_towers(self) -> bool:
        """Whether the model maps pictures and texts into one space, as CLIP does."""
        if not hasattr(self.config, "text_config"):  # else the class would be imported for nothing
            return False
        return all(hasattr(self.model_class, name) for name in ("get_image_features", "get_text_features"))

    def fields(self) -> dict[str, object]:
        """Return what an encoder's spec says of the model."""
        fields: dict[str, object] = {
            "architecture": f"transformers/{type(self.config).__name__}",
            "config": "defaults",
        }
        if self.folder is not None:
            fields["config"] = "sha256:" + files_sha256([self.folder / "config.json"])
        if self.is_random or self.folder is None:
            drawn_by = f"torch {torch.__version__}, transformers {transformers.__version__}"
            return {**fields, "weights": "random", "seed": self.seed, "drawn_by": drawn_by}
        return {**fields, "weights": "sha256:" + files_sha256(list(self.folder.glob("model*.safetensors")))}

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
        try:
            return transformers.AutoModel.from_config(self.config, trust_remote_code=False)
        except (ValueError, TypeError, RuntimeError) as error:
            raise WeightsError(f"Expected {self.folder} to describe a network, but: {str(error)[:300]}") from error

    def _read(self, needs_pooler: Callable[[nn.Module], bool]) -> nn.Module:
        try:
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
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise WeightsError(
                f"Expected {self.folder} to hold a Hugging Face encoder, but: {str(error)[:300]}"
            ) from error
        missing = sorted(report["missing_keys"])
        if not needs_pooler(model):
            missing = [name for name in missing if not name.startswith("pooler.")]
        missing += sorted(str(key[0]) for key in report["mismatched_keys"])
        if missing:
            raise WeightsError(
                f"Expected {self.folder} to hold all weights of its architecture, but {', '.join(missing[:3])} "
                f"{'is' if len(missing) == 1 else 'are'} missing or of another shape."
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
    folder: Path | None = None
    if weights == "pretrained":
        folder = huggingface_folder(model_name, modality=modality)
    elif Path(model_name).is_dir():
        folder = Path(model_name)
    name = Path(model_name).resolve().name if Path(model_name).is_dir() else model_name.rpartition("/")[2]
    is_random = weights == "random"
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
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers checks fields with errors of its own
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"Expected {folder} to hold the config.json of a known architecture, but: {reason}"
        ) from error
