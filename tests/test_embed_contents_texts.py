"""Texts: one spelling for what reads the same, and a tokenizer that needs no vocabulary."""

import hashlib
import subprocess
import sys
import unicodedata

import pytest
from support import ROOT

from embed import ContentError
from embed.contents.texts import HashTokenizer, has_html, normalise, plain
from embed.extraction.source.text_contents import find_texts


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("Blue shirt", "Blue shirt"),
        ("  Blue\t\tshirt \r\n", "Blue shirt"),
        ("Blue\u00a0\u2003\u3000shirt\u2028", "Blue shirt"),  # no-break, em and ideographic blank, line separator
        ("cafe\u0301", "caf\u00e9"),
        ("\u1112\u1161\u11ab", "\ud55c"),  # three Hangul letters are one syllable
        ("\u212b", "\u00c5"),  # the sign for angstrom is the letter
        ("ﬁne ²", "ﬁne ²"),  # looks are kept: NFC, not NFKC
        ("STRASSE Straße", "STRASSE Straße"),
        ("👩‍👩‍👧 🇩🇪 👍🏽", "👩‍👩‍👧 🇩🇪 👍🏽"),
        ("قميص أزرق", "قميص أزرق"),
        ("\u202eשלום\u202c world", "\u202eשלום\u202c world"),
        ("NA", "NA"),
        ("a\0b", "a\0b"),
    ],
)
def test_text_is_nfc_with_single_blanks(cell, text):
    assert normalise(cell) == text
    assert normalise(text) == text
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize("cell", ["", " ", "\t\r\n", "\u00a0\u3000"])
def test_a_cell_without_text_is_absent(cell):
    with pytest.raises(ContentError, match=r"^absent$"):
        normalise(cell)


@pytest.mark.parametrize("cell", ["caf\udce9", "\ud83d", "\ude00\ud83d", "\udcff" * 10])
def test_half_characters_are_not_unicode(cell):
    with pytest.raises(ContentError, match=r"^not_unicode$"):
        normalise(cell)


def test_a_hundred_thousand_characters_are_kept():
    assert normalise("x" * 100_000) == "x" * 100_000
    assert normalise("word \n" * 20_000) == "word " * 19_999 + "word"


def hashed(word, n_tokens=30_522, lowest=1000):
    """The documented id: the first eight bytes of SHA-256, over the ids that are no special ones."""
    first_bytes = hashlib.sha256(word.encode()).digest()[:8]
    return lowest + sum(byte << 8 * n for n, byte in enumerate(first_bytes)) % (n_tokens - lowest)


def test_words_and_signs_are_hashed_between_the_special_tokens():
    ids = HashTokenizer(30_522)("Blue T-shirt, größe 42!", max_length=32)
    assert ids == [101, *map(hashed, ["blue", "t", "-", "shirt", ",", "größe", "42", "!"]), 102]


@pytest.mark.slow
def test_ids_are_the_same_in_every_process():
    """Whatever Python's own hashes are there."""
    tokenize = "HashTokenizer(30_522)('Blue shirt 日本', max_length=32)"
    code = f"from embed.contents.texts import HashTokenizer; print(*{tokenize})"
    environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    line = [sys.executable, "-c", code]
    printed = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout
    ids = [str(token) for token in (101, hashed("blue"), hashed("shirt"), hashed("日本"), 102)]
    assert printed == " ".join(ids) + "\n"


@pytest.mark.parametrize("max_length", [3, 4, 8, 32])
def test_long_texts_are_cut_between_the_special_tokens(max_length):
    tokenizer = HashTokenizer(30_522)
    ids = tokenizer("one two three " * 1000, max_length=max_length)
    words = [hashed(word) for word in ("one", "two", "three")] * 20
    assert ids == [101, *words[: max_length - 2], 102]
    assert tokenizer("one", max_length=max_length) == [101, hashed("one"), 102]


def test_a_text_of_no_words_is_the_special_tokens():
    assert HashTokenizer(30_522)("\u200b\u0301", max_length=8)[0] == 101
    assert HashTokenizer(30_522)("", max_length=8) == [101, 102]


@pytest.mark.parametrize("n_tokens", [8, 59, 102, 103, 150, 1500, 30_522])
def test_ids_stay_within_the_vocabulary(n_tokens):
    """A folder's config may have any vocabulary, and an id beyond it has no embedding."""
    ids = HashTokenizer(n_tokens)(" ".join(map(str, range(500))), max_length=512)
    assert len(ids) == 502
    assert min(ids) >= 0
    assert max(ids) < n_tokens


# --- HTML


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("<p>Tea &amp; cups</p>", " Tea & cups "),
        ("big<br/>small", "big small"),
        ("<b>bo</b>ld and <a href='x?a=1'>link</a>", "bold and link"),
        ("5 &lt; 7", "5 < 7"),
        ("caf&eacute; &#233; &#xe9;", "café é é"),
        ("&lt;p&gt;twice &amp;amp; escaped&lt;/p&gt;", " twice & escaped "),
        ("a<style>p {x: <y>}</style>b<SCRIPT src=x>1 < 2</SCRIPT >c<!-- <b>no</b> -->d", "a b c d"),
        ("I <3 you, a <b and c, x < y > z", "I <3 you, a <b and c, x < y > z"),
        ("R&D, AT&T, ?a=1&copy=2, &unknown;", "R&D, AT&T, ?a=1&copy=2, &unknown;"),
        ("<script>open <style>and <!-- open", " open  and <!-- open"),
    ],
)
def test_html_is_taken_out_and_nothing_else(text, without):
    assert plain(text) == without


@pytest.mark.parametrize(
    ("text", "is_html"),
    [
        ("<p>", True),
        ("a <br/> b", True),
        ("&eacute;", True),
        ("<!-- x", True),
        ("<3", False),
        ("R&D;", False),
        ("", False),
    ],
)
def test_html_is_told_from_signs(text, is_html):
    assert has_html(text) == is_html


@pytest.mark.parametrize("piece", ["<script>", "<!--", "<b ", "&#1", "</style><style>", "<style>x"])
def test_hostile_html_takes_no_longer(piece):
    """It would take hours where each opening were followed to the end."""
    assert isinstance(plain(piece * 200_000), str)


def test_cleaned_texts_of_one_meaning_are_one_content():
    cells = ["Tea &amp; Cups", "<p>tea &#38; cups</p>", "TEA, CUPS"]
    assert {text for _, _, text in find_texts(cells, is_cleaned=True)} == {"tea cups"}
    assert len({key for key, _, _ in find_texts(cells, is_cleaned=False)}) == 3
