"""Why a product has no vector: the statuses, at most 16 letters each, and what they mean to a person."""

from __future__ import annotations

__all__ = ["ABSENT", "FORMATS_IN_WORDS", "MEANINGS", "NOT_BAD", "OK", "RETRIED"]

OK = "ok"
ABSENT = "absent"

FORMATS_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"  # that are read

MEANINGS = {
    OK: "has a vector",
    ABSENT: "the catalogue names none: its cell is empty",
    "missing": "there is no such file",
    "url": "the cell is a URL of no bucket, and nothing is fetched; fetch the pictures and name their files",
    "outside": "the path leaves the image root; --allow-outside permits that",
    "not_a_file": "the path is a folder, a pipe or a device",
    "unreadable": "the system refuses to read the file",
    "empty": "the file has no bytes",
    "not_an_image": f"the file is no picture that is read ({FORMATS_IN_WORDS}): convert it",
    "truncated": "the picture's data ends early or is damaged",
    "too_large": "the picture has too many bytes, pixels or JPEG scans, or is more than 50 times as long as wide",
    "unsupported_mode": "the picture's numbers have no known scale (floating point, 32 bits)",
    "not_unicode": "the text is not valid UTF-8; --encoding names another",
    "not_encoded": "no encoder has seen it yet",
    "changed": "the file changed, or could not be read and decoded in time; run again",
}

NOT_BAD = {OK, ABSENT, "not_encoded"}

RETRIED = "changed"  # the one status that is never kept: the next run looks again
