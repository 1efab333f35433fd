"""Where encoders' weights come from: the ecosystem's own caches, a local file or folder, or a seed.

Nothing falls back in silence, no arbitrary pickle is loaded and no remote code is run.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from cache.keys import fields_sha256
from embed.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = [
    "PROCESSOR_FILES", "VOCABULARY_FILES", "expecting", "files_sha256", "huggingface_folder", "load_state",
    "matching_files", "origin_fields", "seeded", "torchvision_file",
]  # fmt: skip

DOWNLOAD_TIMEOUT_S = 15
_loading = threading.Lock()
VOCABULARY_FILES = ("tokenizer.json", "vocab.*", "*.model")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
FOLDER_FILES = (
    "config.json", "model*.safetensors*", "tokenizer*", "vocab*", "merges.txt", "*.model", "*_tokens*.json",
    *PROCESSOR_FILES,
)  # fmt: skip


def torchvision_file(architecture: str) -> Path:
    """Return torchvision's default weights file in ``TORCH_HOME``, downloaded if it is not there yet.

    Raises:
        WeightsError: it is not there and cannot be downloaded.
    """
    import torch
    from torchvision.models import get_model_weights

    url = get_model_weights(architecture).DEFAULT.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _timeout(DOWNLOAD_TIMEOUT_S):
            torch.hub.download_url_to_file(url, str(path), digest.group(1) if digest else None, progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        raise WeightsError(
            f"The pretrained weights of {architecture} could not be downloaded ({_first_words(error)}). "
            f"Put {path.name} into {path.parent} (TORCH_HOME chooses the folder), name a file with --image-weights "
            "FILE, or go on with untrained ones: --image-weights random."
        ) from error
    return path


def huggingface_folder(name: str, *, modality: str = "text") -> Path:
    """Return the folder of a Hugging Face model: a local one, or the hub's snapshot in ``HF_HOME``.

    Raises:
        WeightsError: it is not there and cannot be downloaded, or holds no safetensors.
    """
    folder = Path(name) if Path(name).is_dir() else _snapshot(name, modality)
    if not _is_whole(folder, modality):
        needed = {"text": "its tokenizer's vocabulary", "image": "preprocessor_config.json"}[modality]
        raise WeightsError(
            f"Expected {'an' if modality == 'image' else 'a'} {modality} encoder to be a folder with config.json, "
            f"model.safetensors and {needed}, but {folder} has "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'}. Weights in pickles are "
            f"not loaded: save the model and the {'tokenizer' if modality == 'text' else 'processor'} with "
            "save_pretrained."
        )
    return folder


def matching_files(folder: Path | None, patterns: Iterable[str]) -> list[Path]:
    """Return the files of a folder whose names match one of the patterns; none where there is no folder."""
    if folder is None:
        return []
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


@contextmanager
def expecting(expectation: str, *, errors: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Let an error of a library in the block be one of weights, in a line: what was expected, but what the error says.

    Raises:
        WeightsError: the block raised one of `errors`.
    """
    try:
        yield
    except errors as error:
        raise WeightsError(f"Expected {expectation}, but: {' '.join(str(error).split())[:300]}") from error


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a ``.safetensors`` file, or in a ``.pt``/``.pth`` one that holds tensors alone.

    Raises:
        WeightsError: the file cannot be read as such.
    """
    import pickle

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make torch's reader raise anything
        reason = f"it cannot be read: {_first_words(error)}"
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds other objects, and loading those could run code."
        raise WeightsError(f"Expected {path} to be a file of tensors alone, but {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(
            f"Expected {path} to hold a state dict (names and tensors), but it holds {type(state).__name__}"
            + (f" of {', '.join(map(str, list(state)[:5]))}." if isinstance(state, dict) else ".")
        )
    return state


def origin_fields(paths: list[Path], *, seed: int, library: str) -> dict[str, object]:
    """Return what an encoder's spec says of where its weights come from: files, or a seed where there are none.

    Raises:
        WeightsError: a file cannot be read.
    """
    import torch

    if paths:
        return {"weights": "sha256:" + files_sha256(paths)}
    return {"weights": "random", "seed": seed, "drawn_by": f"torch {torch.__version__}, {library}"}


def files_sha256(paths: list[Path]) -> str:
    """Return the SHA-256 of one file, or of several files' names and digests.

    Raises:
        WeightsError: a file cannot be read.
    """
    digests = {}
    for path in sorted(paths):
        try:
            with path.open("rb") as file:
                digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WeightsError(f"Expected weights to be readable, but {path} is not: {error.strerror}.") from error
    return next(iter(digests.values())) if len(digests) == 1 else fields_sha256(digests)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from `seed` inside the block, and leave the outside as it was.

    One thread at a time is inside: the generator is one for all, and so is what transformers patches while it loads.
    """
    import torch

    with _loading, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _snapshot(name: str, modality: str) -> Path:
    """Return the folder of a model in the hub's cache, downloaded if it is not whole there.

    Raises:
        WeightsError: it cannot be downloaded.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        with suppress(FileNotFoundError):  # not cached: ask the hub
            folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
            if _is_whole(folder, modality):
                return folder
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FOLDER_FILES)))
    except HFValidationError as error:
        raise WeightsError(
            f"Expected --{modality}-encoder to be a folder or a model's name on the hub, but {name!r} is neither."
        ) from error
    except Exception as error:  # the hub's client raises errors of several HTTP libraries
        reason = _first_words(error)
        home = huggingface_hub.constants.HF_HUB_CACHE
        raise WeightsError(
            f"The {modality} encoder {name} could not be downloaded ({reason}). Fill {home} (HF_HOME chooses the "
            f"folder), name a local folder with --{modality}-encoder FOLDER, or go on with untrained weights: "
            + ("--text-weights random." if modality == "text" else "--image-encoder resnet18 --image-weights random.")
        ) from error


def _is_whole(folder: Path, modality: str) -> bool:
    """Return whether a folder has a config, weights, and a tokenizer's vocabulary or an image processor."""
    if not (folder / "config.json").is_file() or not any(folder.glob("model*.safetensors")):
        return False
    if modality == "image":
        return any((folder / name).is_file() for name in PROCESSOR_FILES)
    return bool(matching_files(folder, VOCABULARY_FILES))


def _first_words(error: Exception) -> str:
    lines = str(error).splitlines()
    return " ".join(lines[0].split())[:300] if lines else type(error).__name__


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    former_timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former_timeout)
