"""Hugging Face encoders as text encoders: [CLS] of the last hidden state, or the masked mean."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cache import EncoderSpec, Tokens
from embed.contents.texts import NORMALISATION
from embed.encoders.checkpoint import features_of, find_checkpoint
from embed.encoders.depths import BlockStates, evenly_spread
from embed.encoders.device import default_parallel, to_device, to_host
from embed.encoders.first_token import keep_first_token
from embed.encoders.packing import pack, unpacked
from embed.encoders.precision import dtype_of, exact_fp32, find_precision
from embed.encoders.protocol import Encoded, entry_name
from embed.encoders.text_tokenizer import TextTokenizer
from embed.encoders.weights import VOCABULARY_FILES, files_sha256, matching_files
from embed.errors import SettingError, WeightsError
from embed.settings import EncoderChoice, ExtractSettings

__all__ = ["TextEncoder", "build", "matches"]

# Tokens of one matrix: fewer leave the device idle, more do not fit into its caches (CPU) or memory (CUDA).
LEAST_TOKENS = {"cpu": 160, "cuda": 8192}
MOST_TOKENS = {"cpu": 4096, "cuda": 65536}

TOWERS = ("clip_text_model",)  # saved alone, such a tower still pools where the text ends
PADDED = ("siglip_text_model", "siglip2_text_model")
POSITIONS_BEHIND_PADDING = ("altclip_text_model", "camembert", "longformer", "mpnet", "roberta", "xlm-roberta")

TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json")


def matches(model: str) -> bool:  # noqa: ARG001 - a family is asked
    """Return whether this may be the name of a Hugging Face text encoder: there is no other family."""
    return True


def build(choice: EncoderChoice, settings: ExtractSettings, device: torch.device) -> TextEncoder:
    """Return the encoder that the settings choose."""
    return TextEncoder(
        choice.model, weights=choice.weights, name=choice.name, seed=settings.seed, device=device,
        precision=settings.precision, pooling=choice.pooling, max_length=settings.max_length,
        keep_tokens=settings.tokens is not None, layers=settings.layers,
    )  # fmt: skip


class TextEncoder:
    """A frozen Hugging Face encoder; bert-base-uncased gives 768 dimensions.

    Args:
        model_name: a local folder or a name on the hub.
        weights: ``pretrained``, or ``random``: the same architecture, untrained. Random weights of
            ``bert-base-uncased`` need no file at all, those of a folder its ``config.json``.
        name: the vectors' name in the cache.
        pooling: ``cls``, the first token of the last hidden state, or ``mean`` over all tokens that are no padding.
            A model with two towers (CLIP, SigLIP) gives the text features that lie in one space with the pictures'.
        max_length: longer texts are cut to so many tokens.
        seed: draws random weights.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: bf16 where the device has it natively, else fp32.
        keep_tokens: keep the last hidden state of every token, too.
        layers: pool the states after so many blocks, evenly spread, the last among them.

    Raises:
        SettingError: the precision is none, the pooling is neither, there are no token states to keep or to pool, or
            the texts may be longer than the model reads.
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
        keep_tokens: bool = False,
        layers: int = 1,
    ) -> None:
        if pooling not in ("cls", "mean"):
            raise SettingError(f"--pooling: expected cls or mean, got {pooling!r}.")
        self.pooling = pooling
        self.keeps_tokens = keep_tokens
        self.max_length = max_length
        self.device = torch.device(device)
        self.precision = find_precision(precision, self.device)
        self.batch_size = 1024 if self.device.type == "cuda" else 128  # few, so that the cores end together
        self.n_parallel = default_parallel(self.device)
        self._loading = threading.Lock()
        self.checkpoint = find_checkpoint(model_name, modality="text", weights=weights, seed=seed)
        self.folder, config = self.checkpoint.folder, self.checkpoint.config
        self.has_two_towers = self.checkpoint.has_two_towers
        self.text_config = config.text_config if self.has_two_towers else config
        if getattr(config, "is_encoder_decoder", False) or not hasattr(self.text_config, "vocab_size"):
            raise WeightsError(
                f"Expected a text encoder to be an encoder alone, or to have a tower for texts, but {model_name} is a "
                f"{type(config).__name__}. Use BERT, CLIP or one of their kinds."
            )
        longest = _longest_text(self.text_config, max_length)
        if max_length > longest:
            raise SettingError(f"--max-length: expected at most {longest} for {model_name}, got {max_length}.")
        self.is_tower = self.has_two_towers or config.model_type in TOWERS
        n_blocks = getattr(self.text_config, "num_hidden_layers", 1)
        self.depths = tuple(map(str, evenly_spread(n_blocks, layers)))
        self.block_states = BlockStates()
        if self.is_tower:
            self._check_tower(model_name)
        # Trained on texts of one length, without a mask, such a tower reads the padding too.
        self.padded_length = longest if self.text_config.model_type in PADDED else None
        usual_name = self.checkpoint.usual_name + ("" if pooling == "cls" else f"-{pooling}")
        usual_name += "-tokens" if keep_tokens else ""
        self.name = entry_name(name, usual_name)
        self.spec = EncoderSpec("text", self._spec_fields())

    def _spec_fields(self) -> dict[str, object]:
        """Return all that changes the vectors.

        Raises:
            WeightsError: a file of the weights or the tokenizer cannot be read.
        """
        tokenizer_paths = matching_files(self.folder, TOKENIZER_FILES)
        words = f"words hashed to {self.text_config.vocab_size} ids"
        return {
            **self.checkpoint.fields(),
            "tokenizer": "sha256:" + files_sha256(tokenizer_paths) if tokenizer_paths else words,
            "normalisation": NORMALISATION,
            "max_length": self.max_length,
            "pooling": self._pooling_field(),
            "precision": self.precision,
            **({"tokens": "last hidden states"} if self.keeps_tokens else {}),
        }

    def prepare(self, content: str) -> list[int]:
        """Return the token ids of one text, special tokens included, at most `max_length`."""
        return self.tokenizer(content)

    @torch.inference_mode()
    @exact_fp32()
    def encode(self, batch: Sequence[list[int]]) -> np.ndarray | Encoded:
        """Return the pooled vectors, (B, D) float32, whatever lengths the texts have, with their tokens' states."""
        groups = self.pack(batch)
        tokens: dict[int, np.ndarray] = {}
        pooled = []
        for group in groups:
            group_vectors, states, beside = self.forward([batch[number] for number in group])
            pooled.append([group_vectors, *beside])
            if self.keeps_tokens:
                halves = to_host(states.half()).numpy()  # (n, L, D)
                tokens |= {number: half[: len(batch[number])] for number, half in zip(group, halves, strict=True)}
        outputs = zip(*pooled, strict=True)  # the vectors of all groups, then those of each depth
        vectors, *depths = (unpacked(to_host(torch.cat(parts).float()).numpy(), groups) for parts in outputs)  # (B, D)
        if not self.keeps_tokens and not depths:
            return vectors
        batch_tokens = Tokens.of([tokens[number] for number in range(len(batch))]) if self.keeps_tokens else None
        return Encoded(vectors, batch_tokens, dict(zip(self.depths, depths, strict=True)))

    def all_depths(self) -> tuple[str, ...]:
        """Return the numbers of the blocks before the last; none of a tower, which pools otherwise."""
        n_blocks = getattr(self.text_config, "num_hidden_layers", 1)
        return () if self.is_tower else tuple(str(number) for number in range(1, n_blocks))

    def pack(self, batch: Sequence[list[int]]) -> list[list[int]]:
        """Return the numbers of the texts that go through the network together, in groups of about one length."""
        kind = self.device.type if self.device.type in LEAST_TOKENS else "cpu"
        lengths = [len(tokens) for tokens in batch]
        return pack(lengths, least_tokens=LEAST_TOKENS[kind], most_tokens=MOST_TOKENS[kind])

    def forward(self, texts: Sequence[list[int]]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the vectors of texts of about one length, (n, D), their tokens' states, (n, L, D), and each depth's.

        Padding to the longest is masked. Where no tokens are kept, the states may be those of the first token alone.
        """
        lengths = [len(tokens) for tokens in texts]
        longest = max(lengths)
        padding = self.tokenizer.pad_token_id
        ids = torch.tensor([tokens + [padding] * (longest - len(tokens)) for tokens in texts])  # (n, L)
        mask = None
        if min(lengths) < longest:  # the mask costs time, and mostly there is nothing to mask
            mask = to_device((torch.arange(longest) < torch.tensor(lengths)[:, None]).long(), self.device)  # (n, L)
        model = self.model
        with self.block_states.noted() as noted:
            vectors, states = self.pooled(model, to_device(ids, self.device), mask)
        return vectors, states, [self._pool(noted[depth], mask) for depth in self.depths]

    def pooled(self, model: Any, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, by this model or a copy of it.

        Shape:
            ids: (n, L) int64
            mask: (n, L) int64, 0 where there is padding; None where there is none
        """
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.has_two_towers:
            return features_of(model.get_text_features(**inputs)), torch.empty(0)
        output = model(**inputs)
        states = output.last_hidden_state  # (n, L, D)
        if self.is_tower:
            return output.pooler_output, states
        return self._pool(states, mask), states

    def _pool(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Return the vectors, (n, D), of the states of some block, (n, L, D)."""
        if self.pooling == "cls":
            return states[:, 0]
        if mask is None:
            return states.float().mean(1)
        return (states.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The folder's own tokenizer, or one that hashes words where there is none; loaded once, whoever asks."""
        with self._loading:
            return self._tokenizer

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer(
            self.folder,
            vocab_size=self.text_config.vocab_size,
            max_length=self.max_length,
            padded_length=self.padded_length,
        )

    @cached_property
    def model(self) -> nn.Module:
        """The network in evaluation mode on its device.

        Raises:
            WeightsError: the folder's tensors do not fit its architecture, or its first token says nothing.
        """
        model: Any = self.checkpoint.load(needs_pooler=lambda _: self.is_tower)
        if self.has_two_towers:
            model.vision_model = None  # the memory is worth more
        elif self.pooling == "cls" and not self.is_tower:
            if not self.keeps_tokens:
                keep_first_token(model)
            self._check_first_token(model)
        self.block_states.watch(model, n_blocks=len(self.all_depths()) + 1, depths=self.depths)
        return model.to(self.device, dtype_of(self.precision))

    @torch.inference_mode()
    def _check_first_token(self, model: Any) -> None:
        """Check that the first token sees those after it; in a causal model all texts would get one vector."""
        lowest = self.text_config.vocab_size // 2
        ids = torch.tensor([[lowest, lowest + 1, lowest + 2], [lowest, lowest + 3, lowest + 4]]) % (2 * lowest)
        vector, other_vector = model(input_ids=ids).last_hidden_state[:, 0]  # (D,) each
        if torch.equal(vector, other_vector):
            raise WeightsError(
                f"Expected the first token to see the others for --pooling cls, but in {self.folder} it sees itself "
                "alone, so that all texts would get the same vector. Use --pooling mean, or another text encoder."
            )

    def _check_tower(self, model_name: str) -> None:
        """Check that nothing is asked of a tower but its own pooling, and that its tokenizer is there."""
        if self.depths:
            raise SettingError(
                f"--layers: expected 1 for {model_name}, whose own pooling gives its texts' vectors. Extract it in a "
                "run of its own."
            )
        if self.keeps_tokens:
            raise SettingError(
                f"Expected a text encoder whose vector is pooled from its tokens for --tokens, but {model_name} has a "
                "pooling of its own. Leave --tokens out, or choose another --text-encoder."
            )
        if self.pooling != "cls":
            raise SettingError(
                f"--pooling: expected cls for {model_name}, whose own pooling gives its texts' vectors, got "
                f"{self.pooling!r}. Use cls."
            )
        if not matching_files(self.folder, VOCABULARY_FILES):
            raise WeightsError(
                f"Expected {self.folder} to hold its tokenizer, since the vector stands where the text ends, but it "
                "holds none. Save it there with save_pretrained."
            )

    def _pooling_field(self) -> str:
        if self.has_two_towers:
            return "text features"
        return "pooled output" if self.is_tower else f"{self.pooling} of the last hidden state"


def _longest_text(config: Any, otherwise: int) -> int:
    """Return how many tokens the model has positions for."""
    longest = getattr(config, "max_position_embeddings", otherwise)
    if config.model_type in POSITIONS_BEHIND_PADDING:
        return longest - config.pad_token_id - 1  # their positions begin behind the padding's id
    return longest
