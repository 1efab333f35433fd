"""Where encoders' weights come from: the ecosystem's own caches, a local file or folder, or a seed.

Nothing falls back in silence, no arbitrary pickle is loaded and no remote code is run.
"""

from __future__ import annotations

import hashlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cache.keys import fields_sha256
from embed.errors import WeightsError

if TYPE_CHECKING:
    import torch

__all__ = ["files_sha256", "huggingface_folder", "load_state", "seeded", "torchvision_file"]

DOWNLOAD_TIMEOUT_S = 15
FOLDER_FILES = ("config.json", "model*.safetensors*", "tokenizer*", "vocab*", "merges.txt", "*.model", "*_tokens*.json")


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
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"The pretrained weights of {architecture} could not be downloaded ({error}). Put {path.name} into "
            f"{path.parent} (TORCH_HOME chooses the folder), name a file with --image-weights FILE, or go on with "
            "untrained ones: --image-weights random."
        ) from error
    return path


def huggingface_folder(name: str) -> Path:
    """Return the folder of a Hugging Face model: a local one, or the hub's snapshot in ``HF_HOME``.

    Raises:
        WeightsError: it is not there and cannot be downloaded, or holds no safetensors.
    """
    folder = Path(name) if Path(name).is_dir() else _snapshot(name)
    if not (folder / "config.json").is_file() or not list(folder.glob("model*.safetensors")):
        raise WeightsError(
            f"A text encoder must be a folder with config.json and model.safetensors, however {folder} has "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'}. Weights in pickles are "
            "not loaded: save the model with save_pretrained."
        )
    return folder


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a ``.safetensors`` file, or in a ``.pt``/``.pth`` one that holds tensors alone.

    Raises:
        WeightsError: the file cannot be read as such.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} must be a file of tensors alone, however it cannot be read: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(
            f"{path} must hold a state dict (names and tensors), however it holds {type(state).__name__}"
            + (f" of {', '.join(map(str, list(state)[:5]))}." if isinstance(state, dict) else ".")
        )
    return state


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
            raise WeightsError(f"Weights must be readable, however {path} is not: {error.strerror}.") from error
    return next(iter(digests.values())) if len(digests) == 1 else fields_sha256(digests)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw torch's random numbers from `seed` inside the block, and leave the outside as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _snapshot(name: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with suppress(FileNotFoundError):  # not cached: ask the hub
            folder = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
            if (folder / "config.json").is_file() and list(folder.glob("model*.safetensors")):
                return folder
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(FOLDER_FILES)))
    except HFValidationError as error:
        raise WeightsError(
            f"--text-encoder must be a folder or a model's name on the hub, however {name!r} is neither."
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        home = huggingface_hub.constants.HF_HUB_CACHE
        raise WeightsError(
            f"The text encoder {name} could not be downloaded ({reason}). Fill {home} (HF_HOME chooses the folder), "
            "name a local folder with --text-encoder FOLDER, or go on with untrained weights: --text-weights random."
        ) from error


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
