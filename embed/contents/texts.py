"""Texts: from a catalogue's cell to normalised text, and from text to token ids."""

from __future__ import annotations

import hashlib
import html
import re
import string
import unicodedata
from collections.abc import Iterable

from cache.keys import normalised
from embed.contents.statuses import ABSENT
from embed.errors import ContentError

__all__ = ["SEPARATOR", "HashTokenizer", "clean", "has_html", "join", "normalise", "plain"]

SEPARATOR = ". "  # of several cells that are one text
NORMALISATION = "NFC, runs of white space to one blank"


def normalise(cell: str) -> str:
    r"""Return the text that is hashed and encoded: Unicode NFC, runs of white space as one blank, none at the ends.

    >>> normalise("  Blue\t shirt ")
    'Blue shirt'

    Raises:
        ContentError: nothing is left, or the cell is not Unicode.
    """
    text = normalised(cell)
    if not text:
        raise ContentError(ABSENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ContentError("not_unicode") from error
    return text


def join(cells: Iterable[str]) -> str:
    """Return one text of a product's several: those that are not empty, with ". " between them.

    >>> join(["Blue shirt", " ", "Soft cotton"])
    'Blue shirt. Soft cotton'
    """
    return SEPARATOR.join(stripped for cell in cells if (stripped := cell.strip()))


def clean(text: str) -> str:
    """Return a text in lower case without HTML, with one blank where punctuation and white space was.

    Punctuation is what Unicode calls so, and ASCII's signs; emoji and other symbols stay.

    >>> clean("Men's T-shirt, <b>BLUE</b> &amp; white!")
    'men s t shirt blue white'
    """
    return " ".join(plain(text).lower().translate(_BLANKS).split())


def has_html(text: str) -> bool:
    """Return whether a text holds tags or entities.

    >>> has_html("<p>Tea &amp; cups</p>"), has_html("5 < 7 & R&D; <3"), has_html("AT&amp;T")
    (True, False, True)
    """
    return (
        bool(_TAG.search(text))
        or "<!--" in text
        or any(html.unescape(entity) != entity for entity in _ENTITY.findall(text))
    )


def plain(text: str) -> str:
    """Return a text without HTML: entities are the characters that they stand for, and tags are gone.

    Tags within words leave nothing, others a blank; of scripts, styles and comments nothing stays. What is escaped
    twice, as in feeds, is unescaped twice.

    >>> plain("<p>T<b>ea</b> &amp;amp; cups</p><br>5 &lt; 7")
    ' Tea & cups  5 < 7'
    """
    for _ in range(2):
        if "&" in text:
            text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
        if "<" in text:
            text = _TAG.sub(lambda tag: "" if tag[1].lower() in _INLINE else " ", _without_hidden(text))
    return text


def _without_hidden(text: str) -> str:
    """Return a text without scripts, styles and comments, in time linear in its length, however many are not closed."""
    for start, end in _HIDDEN:
        pieces, offset = [], 0
        while (opening := start.search(text, offset)) and (closing := end.search(text, opening.end())):
            pieces.append(text[offset : opening.start()])
            offset = closing.end()
        text = " ".join([*pieces, text[offset:]])
    return text


_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)(?:\s[^<>]*|/)?>")
_HIDDEN = [
    (re.compile(start, re.IGNORECASE), re.compile(end, re.IGNORECASE))
    for start, end in (
        ("<!--", "-->"), (r"<script\b[^<>]*>", r"</script\s*>"), (r"<style\b[^<>]*>", r"</style\s*>"),
    )
]  # fmt: skip
_INLINE = {"a", "b", "em", "font", "i", "mark", "s", "small", "span", "strong", "sub", "sup", "u"}


class _Blanks(dict[int, str | int]):
    """What each code point becomes: a blank, or itself."""

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        is_sign = character in string.punctuation or unicodedata.category(character).startswith("P")
        self[code] = " " if is_sign else code
        return self[code]


_BLANKS = _Blanks()


class HashTokenizer:
    """A tokenizer that needs no vocabulary: each lower-case word or sign becomes an id by its SHA-256.

    It serves encoders of random weights, for which one id is as good as another. Its special tokens have BERT's ids.
    """

    pad_token_id = 0
    n_special = 1000  # BERT keeps its unused and special tokens below

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens = n_tokens
        self.cls_token_id, self.sep_token_id = (101, 102) if n_tokens > 102 else (1, 2)

    def __call__(self, text: str, *, max_length: int) -> list[int]:
        """Return ``[CLS] words [SEP]``, at most `max_length` ids."""
        words = re.findall(r"\w+|[^\w\s]", text.lower())[: max_length - 2]
        return [self.cls_token_id, *map(self._token_id, words), self.sep_token_id]

    def _token_id(self, word: str) -> int:
        lowest = min(self.n_special, self.n_tokens // 2)
        digest = hashlib.sha256(word.encode()).digest()
        return lowest + int.from_bytes(digest[:8], "little") % (self.n_tokens - lowest)
