"""Hugging Face encoders as text encoders: [CLS] of the last hidden state, or the masked mean."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn

from cache import EncoderSpec
from embed.device import default_parallel, own_stream, to_device
from embed.encoders import entry_name
from embed.errors import SettingError, WeightsError
from embed.first_token import keep_first_token
from embed.packing import pack
from embed.precision import dtype_of, find_precision
from embed.texts import NORMALISATION, HashTokenizer
from embed.weights import files_sha256, huggingface_folder, seeded, vocabulary_files

__all__ = ["TextEncoder"]

# Tokens of one matrix: fewer leave the device idle, more do not fit into its caches (CPU) or memory (CUDA).
LEAST_TOKENS = {"cpu": 256, "cuda": 8192}
MOST_TOKENS = {"cpu": 4096, "cuda": 65536}

TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json")


class TextEncoder:
    """A frozen Hugging Face encoder; bert-base-uncased gives 768 dimensions.

    Args:
        model_name: a local folder or a name on the hub.
        weights: ``pretrained``, or ``random``: the same architecture, untrained. Random weights of
            ``bert-base-uncased`` need no file at all, those of a folder its ``config.json``.
        name: the vectors' name in the cache.
        pooling: ``cls``, the first token of the last hidden state, or ``mean`` over all tokens that are no padding.
        max_length: longer texts are cut to so many tokens.
        seed: draws random weights.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 where the device has it natively, else fp32.

    Raises:
        SettingError: the precision is none, the pooling is neither, or the texts may be longer than the model reads.
        WeightsError: the weights cannot be had.
    """

    def __init__(
        self,
        model_name: str = "bert-base-uncased",
        *,
        weights: str = "pretrained",
        name: str | None = None,
        pooling: str = "cls",
        max_length: int = 32,
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "fp32",
    ) -> None:
        if pooling not in ("cls", "mean"):
            raise SettingError(f"--pooling must be cls or mean, however got {pooling!r}.")
        if weights not in ("pretrained", "random"):
            raise SettingError(
                f"--text-weights must be pretrained or random, however got {weights!r}. "
                "Local weights are named by their folder: --text-encoder FOLDER."
            )
        self.pooling = pooling
        self.max_length = max_length
        self.device = torch.device(device)
        self.seed = seed
        self.precision = find_precision(precision, self.device)
        self.batch_size = 4096 if self.device.type == "cuda" else 256
        self.n_parallel = default_parallel(self.device)
        self.folder: Path | None = None
        self._tokenizer_lock = threading.Lock()
        if weights == "pretrained":
            self.folder = huggingface_folder(model_name)
        elif Path(model_name).is_dir():
            self.folder = Path(model_name)
        self.is_random = weights == "random"
        self.config = _config(model_name, self.folder)
        if getattr(self.config, "is_encoder_decoder", False) or not hasattr(self.config, "vocab_size"):
            raise WeightsError(
                f"A text encoder must be an encoder alone, however {model_name} is a {type(self.config).__name__}: "
                "BERT and its kind are."
            )
        longest = _longest_text(self.config, max_length)
        if max_length > longest:
            raise SettingError(f"--max-length must be at most {longest} for {model_name}, however got {max_length}.")
        self.name = entry_name(name, _usual_name(model_name, is_random=self.is_random, pooling=pooling))
        self.spec = EncoderSpec(
            "text",
            {
                "architecture": f"transformers/{type(self.config).__name__}",
                "config": self._config_field(),
                **self._weights_fields(),
                "tokenizer": self._tokenizer_field(),
                "normalisation": NORMALISATION,
                "max_length": max_length,
                "pooling": f"{pooling} of the last hidden state",
                "precision": self.precision,
            },
        )

    def prepare(self, content: str) -> list[int]:
        """Return the token ids of one text, special tokens included, at most `max_length`."""
        with self._tokenizer_lock:  # Hugging Face tokenizers must not be called from two threads at once
            if isinstance(self.tokenizer, HashTokenizer):
                return self.tokenizer(content, max_length=self.max_length)
            return self.tokenizer(content, truncation=True, max_length=self.max_length)["input_ids"]

    @torch.inference_mode()
    def encode(self, batch: Sequence[list[int]]) -> np.ndarray:
        """Return the pooled vectors, (B, D) float32, whatever lengths the texts have."""
        groups = self.pack(batch)
        with own_stream(self.device):
            pooled = torch.cat([self._pooled([batch[number] for number in group]) for group in groups])  # (B, D)
            vectors = pooled.float().cpu().numpy()
        ordered = np.empty_like(vectors)
        ordered[[number for group in groups for number in group]] = vectors
        return ordered

    def pack(self, batch: Sequence[list[int]]) -> list[list[int]]:
        """Return the numbers of the texts that go through the network together, in groups of about one length."""
        kind = self.device.type if self.device.type in LEAST_TOKENS else "cpu"
        lengths = [len(tokens) for tokens in batch]
        return pack(lengths, least_tokens=LEAST_TOKENS[kind], most_tokens=MOST_TOKENS[kind])

    def _pooled(self, texts: Sequence[list[int]]) -> Tensor:
        """Return the vectors of texts of about one length, (n, D); padding to the longest is masked."""
        lengths = [len(tokens) for tokens in texts]
        longest = max(lengths)
        padding = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([tokens + [padding] * (longest - len(tokens)) for tokens in texts])  # (n, L)
        mask = None
        if min(lengths) < longest:  # the mask costs time, and mostly there is nothing to mask
            mask = to_device((torch.arange(longest) < torch.tensor(lengths)[:, None]).long(), self.device)  # (n, L)
        states = self.model(input_ids=to_device(ids, self.device), attention_mask=mask).last_hidden_state  # (n, L, D)
        if self.pooling == "cls":
            return states[:, 0]
        if mask is None:
            return states.float().mean(1)
        return (states.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's own tokenizer, or one that hashes words where there is none."""
        if self.folder is None or not vocabulary_files(self.folder):  # only untrained weights may do without
            return HashTokenizer(self.config.vocab_size)
        try:
            return transformers.AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # tokenizers raise plain exceptions on damaged files
            raise WeightsError(f"{self.folder} must hold its tokenizer, however: {str(error)[:300]}") from error

    @cached_property
    def model(self) -> nn.Module:
        """The network in evaluation mode on its device.

        Raises:
            WeightsError: the folder's tensors do not fit its architecture.
        """
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        with seeded(self.seed):
            model = self._draw() if self.is_random else self._load()
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
        if self.pooling == "cls":
            keep_first_token(model)
        return model.eval().requires_grad_(False).to(self.device, dtype_of(self.precision))

    def _draw(self) -> nn.Module:
        try:
            return transformers.AutoModel.from_config(self.config, trust_remote_code=False)
        except (ValueError, TypeError, RuntimeError) as error:
            raise WeightsError(f"{self.folder} must describe a network, however: {str(error)[:300]}") from error

    def _load(self) -> nn.Module:
        try:
            model, report = transformers.AutoModel.from_pretrained(
                self.folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report names them
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise WeightsError(
                f"{self.folder} must hold a Hugging Face encoder, however: {str(error)[:300]}"
            ) from error
        missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
        missing += sorted(str(key[0]) for key in report["mismatched_keys"])
        if missing:
            raise WeightsError(
                f"{self.folder} must hold all weights of its architecture, however "
                f"{', '.join(missing[:3])} {'is' if len(missing) == 1 else 'are'} missing or of another shape."
            )
        return model

    def _config_field(self) -> str:
        return "defaults" if self.folder is None else "sha256:" + files_sha256([self.folder / "config.json"])

    def _weights_fields(self) -> dict[str, object]:
        if self.is_random or self.folder is None:
            drawn_by = f"torch {torch.__version__}, transformers {transformers.__version__}"
            return {"weights": "random", "seed": self.seed, "drawn_by": drawn_by}
        return {"weights": "sha256:" + files_sha256(list(self.folder.glob("model*.safetensors")))}

    def _tokenizer_field(self) -> str:
        paths = self._tokenizer_paths()
        return "sha256:" + files_sha256(paths) if paths else f"words hashed to {self.config.vocab_size} ids"

    def _tokenizer_paths(self) -> list[Path]:
        if self.folder is None:
            return []
        return sorted({path for pattern in TOKENIZER_FILES for path in self.folder.glob(pattern) if path.is_file()})


def _config(model_name: str, folder: Path | None) -> Any:
    if folder is None and model_name == "bert-base-uncased":
        return transformers.BertConfig()  # its defaults are BERT-base
    if folder is None:
        raise WeightsError(
            f"Random weights need an architecture: bert-base-uncased or a folder with config.json, however got "
            f"{model_name!r}."
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers checks fields with errors of its own
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{folder} must hold the config.json of a known architecture, however: {reason}") from error


def _longest_text(config: Any, otherwise: int) -> int:
    """Return how many tokens the model has positions for."""
    longest = getattr(config, "max_position_embeddings", otherwise)
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer"):
        return longest - config.pad_token_id - 1  # their positions begin behind the padding's id
    return longest


def _usual_name(model_name: str, *, is_random: bool, pooling: str) -> str:
    name = Path(model_name).resolve().name if Path(model_name).is_dir() else model_name.rpartition("/")[2]
    return name + ("-random" if is_random else "") + ("" if pooling == "cls" else f"-{pooling}")
