"""A trained head: all that is needed to answer, in one safetensors file and one JSON file beside it.

``<name>.safetensors`` holds the weights (``module.*``), the standardisation (``standardise.*``) and golden rows
(``golden.*``): inputs, tokens where the head looks at such, and the answers they must give. ``<name>.json`` holds the
classes, the description that the head is built from, the encoders' specs, and the SHA-256 of the other file. Neither
runs code when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cache import Cache, ContentSpec, EncoderSpec
from cache.keys import fields_sha256
from cache.system.memory_budget import check_memory
from heads.data.metadata.fitted_metadata import FittedMetadata
from heads.data.metadata.metadata_request import is_metadata, metadata_of
from heads.data.tokens import ProductTokens
from heads.data.vectors import Vectors, load_vectors, no_vectors
from heads.errors import HeadError
from heads.json_file import write_json
from heads.modules.description import HeadDescription
from heads.modules.ensemble import as_log_probabilities
from heads.modules.parts.standardiser import Standardise
from heads.modules.plugin import shown_error
from heads.modules.saving.golden_rows import N_GOLDEN, check_golden, check_golden_answers, golden_tokens
from heads.modules.saving.head_file import HEAD_VERSION, read_head_file
from heads.modules.saving.head_inputs import check_contents, find_encoder, tell_not_encoded, without_content
from heads.modules.saving.row_blocks import BLOCK_ROWS, RowBlock, row_blocks
from heads.modules.seeded import build_empty
from heads.threads import side_by_side
from heads.typed_json import read_plain_file

__all__ = ["TrainedHead", "load_head"]

_NO_HEAD = (  # what reading raises of files that hold no head
    LookupError, ArithmeticError, TypeError, ValueError, RuntimeError, AssertionError, AttributeError, SafetensorError
)  # fmt: skip


@dataclass(frozen=True)
class TrainedHead:
    """A head in evaluation mode, the standardisation before it, and what its answers mean."""

    description: HeadDescription
    module: nn.Module
    standardise: Standardise
    label: str
    classes: list[str]
    encoders: Mapping[str, str]  # modality -> the encoder's name in the cache it was trained from
    specs: Mapping[str, EncoderSpec]
    contents: Mapping[str, ContentSpec] = field(default_factory=dict)  # how what was encoded is made; where it is known
    block_rows: int = BLOCK_ROWS  # answered at once, few where few products come at a time

    @property
    def name(self) -> str:
        """The head's name: a modality's or a fusion's."""
        return self.description.name

    @torch.inference_mode()
    def log_probabilities(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        tokens: Mapping[str, ProductTokens] | None = None,
        *,
        rows: Tensor | None = None,
        are_standardised: bool = False,
    ) -> Tensor:
        """Return the log-probability of every class, for all products or some rows of them.

        An answer depends on its own row alone.

        Shape:
            inputs: {modality: (N, D) float32}, as they are in the cache, or standardised
            present: {modality: (N,) bool}
            tokens: of N products, as they are in the cache, for the modalities whose tokens the head looks at
            rows: (n,) int64; None: all N
            output: (n, K) float32

        Raises:
            HeadError: the tokens are not those that the head looks at, or not of N products; or the head answers for
                another number of classes than it names.
        """
        rows = torch.arange(len(next(iter(present.values())))) if rows is None else rows
        answers = torch.empty(len(rows), len(self.classes))
        blocks = self.answer_blocks(inputs, present, tokens, rows=rows, are_standardised=are_standardised)
        for positions, block in blocks:
            answers[positions] = block
        return answers

    def answer_blocks(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        tokens: Mapping[str, ProductTokens] | None = None,
        *,
        rows: Tensor,
        are_standardised: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `log_probabilities` returns in blocks: their positions among the rows, (b,), and (b, K).

        Raises:
            HeadError: as there.
        """
        checked_tokens = self._checked_tokens(tokens or {}, present)
        states = {name: checked_tokens[name].take(rows) for name in checked_tokens}

        @torch.inference_mode()
        def answered(block: RowBlock) -> tuple[Tensor, Tensor]:
            positions, n_missing, lengths = block
            vectors, mask = (
                {name: nn.functional.pad(by_modality[name][rows[positions]], pad) for name in self.description.dims}
                for by_modality, pad in ((inputs, (0, 0, 0, n_missing)), (present, (0, n_missing)))
            )
            arguments: list[Mapping] = [vectors if are_standardised else self.standardise(vectors, mask), mask]
            if states:
                batches = {name: states[name].take(positions).padded(n_missing).batch(lengths[name]) for name in states}
                arguments.append(self.standardise.tokens(batches))
            answer = as_log_probabilities(self.module, self.module(*arguments))  # (BLOCK_ROWS, K)
            if answer.shape[1] != len(self.classes):
                raise HeadError(
                    f"Expected the head {self.name!r} to answer for each of its {len(self.classes)} classes, but it "
                    f"answers for {answer.shape[1]}. Train it again."
                )
            return positions, answer[: len(positions)]

        blocks = row_blocks(len(rows), states, block_rows=self.block_rows)
        # Of a class of the user's own nobody knows whether it may be called from several threads.
        return side_by_side(answered, blocks) if self.description.plugin is None else map(answered, blocks)

    def probabilities(self, vectors: Vectors) -> np.ndarray:
        """Return the probability of every class for products of a cache, (N, K) float32."""
        return self.log_probabilities(vectors.inputs, vectors.present, vectors.tokens).exp().numpy()

    def _checked_tokens(
        self, tokens: Mapping[str, ProductTokens], present: Mapping[str, Tensor]
    ) -> dict[str, ProductTokens]:
        """Return the tokens that the head looks at, if they are such as it was trained on."""
        for modality, dim in self.description.token_dims.items():
            token_dim = tokens[modality].dim if modality in tokens else None
            if token_dim != dim:
                raise HeadError(
                    f"Expected {modality} tokens of {dim} dimensions for the head {self.name!r}, but "
                    + (f"these have {token_dim}." if token_dim is not None else "there are vectors alone.")
                    + " Extract with the same encoder and --tokens."
                )
            if (n_products := len(present[modality])) != len(tokens[modality].counts):
                raise HeadError(
                    f"Expected the {modality} tokens of as many products as the vectors, {n_products}, got those of "
                    f"{len(tokens[modality].counts)}. Take the same rows of both."
                )
        return {modality: tokens[modality] for modality in self.description.token_dims}

    def vectors_of(
        self, cache: Cache, *, is_renamed: bool = False, without: Collection[str] = (), may_lack_columns: bool = False,
        memory: str | None = None,
    ) -> Vectors:  # fmt: skip
        """Return the vectors that the head was trained on, from any cache that holds such; metadata from its columns.

        With `is_renamed` the columns that contents are made of may have other names than in training. `without` are
        modalities of which the products are known to have nothing; with `may_lack_columns` cells of metadata's columns
        that are not there are empty. All may take `memory`, as of `Cache.matrix`.

        Raises:
            HeadError: the cache has vectors of this modality, and none from the same encoder spec, or of contents that
                are made otherwise; or lacks a column.
            MissingEntryError: the cache lacks the modality.
            CacheError: the vectors take more than `memory`.
        """
        total_dim = sum(self.description.dims.values())
        check_memory(len(cache), total_dim, memory=memory, what=f"the vectors of {', '.join(self.description.dims)}")
        without = without_content(cache, self.description.dims.keys() - without) | set(without)
        specs = {name: self.specs[name] for name in self.description.dims if name not in without}
        columns = [FittedMetadata.from_spec(spec) for spec in specs.values() if is_metadata(spec)]
        encoders = {}
        for modality in [name for name, spec in specs.items() if not is_metadata(spec)]:
            encoders[modality] = find_encoder(
                cache, self.specs[modality], name=self.encoders[modality], head=self.name,
                needs_tokens=modality in self.description.token_dims,
            )  # fmt: skip
            if modality in self.contents:
                check_contents(cache, self.contents[modality], head=self.name, is_renamed=is_renamed)
        vectors = load_vectors(
            cache,
            encoders=encoders,
            tokens_of=[name for name in self.description.token_dims if name in encoders],
            memory=memory,
        )
        for modality, encoder in encoders.items():
            tell_not_encoded(cache, modality, encoder, vectors.present[modality].numpy())
        nothing = [
            no_vectors(
                modality, len(cache), dim, encoder=self.encoders[modality], spec=self.specs[modality],
                token_dim=self.description.token_dims.get(modality),
            )
            for modality, dim in self.description.dims.items()
            if modality in without
        ]  # fmt: skip
        metadata = (metadata_of(cache, fitted, head=self.name, may_lack_columns=may_lack_columns) for fitted in columns)
        return Vectors.merge([vectors, *nothing, *metadata])

    def save(self, folder: Path, *, golden: Vectors, golden_rows: np.ndarray) -> None:
        """Write the head's two files into `folder`, with up to eight golden rows."""
        rows = torch.from_numpy(golden_rows[:N_GOLDEN])
        inputs = {name: golden.inputs[name][rows] for name in self.description.dims}
        present = {name: golden.present[name][rows] for name in self.description.dims}
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"standardise.{name}": tensor for name, tensor in self.standardise.state_dict().items()}
        tensors |= {f"golden.input.{name}": tensor for name, tensor in inputs.items()}
        tensors |= {f"golden.present.{name}": tensor for name, tensor in present.items()}
        tokens = {name: golden.tokens[name].take(rows).packed() for name in self.description.token_dims}
        for name, states in tokens.items():
            tensors |= {f"golden.tokens.{field}.{name}": tensor for field, tensor in vars(states).items()}
        tensors["golden.output"] = self.log_probabilities(inputs, present, tokens)
        content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
        about = {
            "format": "embed-once head",
            "format_version": HEAD_VERSION,
            "label": self.label,
            "classes": self.classes,
            "description": self.description.to_dict(),
            "encoders": dict(self.encoders),
            "specs": {name: json.loads(spec.to_json()) for name, spec in self.specs.items()},
            "contents": {name: json.loads(spec.to_json()) for name, spec in self.contents.items()},
            "weights_sha256": hashlib.sha256(content).hexdigest(),
        }
        (folder / f"{self.name}.safetensors").write_bytes(content)
        write_json(folder / f"{self.name}.json", about | {"sha256": fields_sha256(about)}, is_exact=True)


def load_head(path: str | Path, *, plugins: bool = False) -> TrainedHead:
    """Return the head saved in ``<path>.json`` and ``<path>.safetensors``, known to answer as it did when saved.

    Loading runs no code of the file's choice, unless `plugins` allows heads of a user's own class.

    Raises:
        HeadError: a file is missing or damaged, is of another version, or the golden rows get other answers.
        UnreadableError: the system could not read a file.
    """
    path = Path(path)
    path = path.with_name(f"{path.name.removesuffix('.json').removesuffix('.safetensors')}.json")
    weights_path = path.with_name(f"{path.stem}.safetensors")
    try:
        about = read_head_file(path)
        content = read_plain_file(weights_path)
        if hashlib.sha256(content).hexdigest() != about.weights_sha256:
            raise HeadError(
                f"Expected {weights_path} to be the file that {path.name} describes, but it is "
                "another. Train again, or restore it."
            )
        tensors = load(content)
        description, specs, contents = about.described, about.encoder_specs(), about.content_specs()
        check_golden(tensors)
        if description.plugin is not None and not plugins:
            raise HeadError(
                f"Expected {path} to be a built-in head, but it is of the class {description.plugin}, whose code runs "
                "when it is loaded. If you trust it, load it with plugins=True (heads-predict --plugins)."
            )
        module = build_empty(description)  # nothing is allocated on the word of the JSON file
        with torch.device("meta"):
            standardise = Standardise(description.dims, description.token_dims, scaling=description.scaling)
        module.load_state_dict(_part("module.", tensors), assign=True)
        standardise.load_state_dict(_part("standardise.", tensors), assign=True)
        head = TrainedHead(
            description=description,
            module=module.eval().requires_grad_(False),
            standardise=standardise.eval(),
            label=about.label,
            classes=about.classes,
            encoders=about.encoders,
            specs=specs,
            contents=contents,
        )
        answers = head.log_probabilities(
            _part("golden.input.", tensors), _part("golden.present.", tensors), golden_tokens(description, tensors)
        )
    except FileNotFoundError as error:
        raise HeadError(f"Expected a head to be two files, but {error.filename} is not there.") from error
    except HeadError:
        raise
    except _NO_HEAD as error:
        raise HeadError(f"Expected {path} to be a head of embed-once, but: {shown_error(error)}") from error
    check_golden_answers(answers, tensors["golden.output"], path=path)
    return head


def _part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
