"""Texts: how many tokens they have, and what a longest length cuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embed.contents.statuses import OK
from embed.contents.texts import HashTokenizer, has_html, plain
from embed.extraction.source.text_contents import find_texts
from embed.inspection.duplicate_counter import Digests, Repeats
from embed.inspection.quantiles import find_quantiles
from embed.inspection.sampling import Sample

__all__ = ["TextCounter", "TextProfile", "find_tokenizer", "local_folder"]

MEASURED_TOGETHER = 1024
WORDS = "words and signs"

Measure = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True)
class TextProfile:
    """The texts of a catalogue, and the lengths of a sample of them, special tokens included."""

    column: str
    statuses: dict[str, int]
    repeats: Repeats
    tokenizer: str  # whose tokens are counted
    is_exact: bool  # it is the encoder's own tokenizer
    max_length: int
    n_measured: int  # texts whose tokens were counted
    quantiles: dict[str, int]
    mean_length: float
    lengths: dict[int, int]  # texts by number of tokens
    n_cut: int  # of the measured: texts longer than `max_length`
    tokens_cut_share: float  # of the measured texts' tokens
    n_html: int  # texts with tags or entities
    html_example: str
    n_alike: int  # whose text an earlier row has but for letter case and HTML, and that are no exact copies


class TextCounter:
    """Reads texts as extraction does: 8 bytes a row for its content key, and a sample of them for their lengths."""

    def __init__(self, sample_size: int, generator: np.random.Generator, *, clean_text: bool = False) -> None:
        self.clean_text = clean_text
        self.statuses = Counter({OK: 0})
        self.digests = Digests()
        self.plain_digests = Digests()
        self.n_html = 0
        self.html_example = ""
        self.sample: Sample[str] = Sample(sample_size, generator)

    def add(self, cells: Sequence[str]) -> None:
        """Read the next cells."""
        contents = list(find_texts(cells, is_cleaned=self.clean_text))
        texts = [text for key, _, text in contents if key]
        self.statuses.update(status for _, status, _ in contents)
        self.digests.add(Digests.of_key(key) for key, _, _ in contents)
        self.plain_digests.add(_plain_digest(text) for _, _, text in contents)
        with_html = [text for text in texts if has_html(text)]
        self.n_html += len(with_html)
        self.html_example = self.html_example or next(iter(with_html), "")
        self.sample.offer(len(texts), texts.__getitem__)

    def profile(self, column: str, repeats: Repeats, *, text_encoder: str, max_length: int) -> TextProfile:
        """Return what was counted, with lengths in tokens of the encoder's tokenizer if it is on this machine."""
        name, measure = find_tokenizer(text_encoder)
        texts = [text for _, text in self.sample.items()]
        blocks = (texts[start : start + MEASURED_TOGETHER] for start in range(0, len(texts), MEASURED_TOGETHER))
        lengths = np.array([n for block in blocks for n in measure(block)], dtype=np.int64)  # (n_measured,)
        return TextProfile(
            column=column,
            statuses=dict(self.statuses),
            repeats=repeats,
            tokenizer=name,
            is_exact=name != WORDS,
            max_length=max_length,
            n_measured=len(lengths),
            quantiles=find_quantiles(lengths.tolist()),
            mean_length=float(lengths.mean()) if len(lengths) else 0.0,
            lengths=dict(sorted(Counter(lengths.tolist()).items())),
            n_cut=int(np.count_nonzero(lengths > max_length)),
            n_html=self.n_html,
            html_example=self.html_example,
            n_alike=self.plain_digests.repeats(n_largest=0).n_surplus - repeats.n_surplus,
            tokens_cut_share=float(np.maximum(lengths - max_length, 0).sum() / max(1, lengths.sum())),
        )


def _plain_digest(text: str) -> int:
    """Return a digest of a text without HTML and letter case, that of no content for ""."""
    if not text:
        return Digests.NONE
    # Python's hash of strings is one of 64 bits that is drawn anew in each process.
    return hash(" ".join(plain(text).casefold().split())) or 1


def find_tokenizer(text_encoder: str) -> tuple[str, Measure]:
    """Return a tokenizer's name and a function from texts to numbers of tokens, special ones included.

    It is that of the encoder (the first of several) where its ``tokenizer.json`` is in the folder or in the local
    Hugging Face cache; nothing is downloaded. Otherwise words and signs are counted.
    """
    name = text_encoder.split(",")[0].strip()
    folder = local_folder(name, "tokenizer.json")
    if folder is not None:
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception:  # noqa: BLE001 - it raises plain exceptions on damaged files; the page says what is counted
            return WORDS, _count_words
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return name, lambda texts: [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]
    return WORDS, _count_words


def local_folder(model_name: str, file_name: str) -> Path | None:
    """Return the folder that holds a file of a Hugging Face model on this machine, None where there is none."""
    if Path(model_name).is_dir():
        return Path(model_name) if (Path(model_name) / file_name).is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached_path = try_to_load_from_cache(model_name, file_name)
    except HFValidationError:
        return None
    return Path(cached_path).parent if isinstance(cached_path, str) else None


def _count_words(texts: Sequence[str]) -> list[int]:
    """Return the lengths that `HashTokenizer` gives texts of any length."""
    tokenizer = HashTokenizer(2**15)
    return [len(tokenizer(text, max_length=2**62)) for text in texts]
