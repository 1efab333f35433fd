"""The registry of formats: each entry is read by what it names, and no two claim one file."""

from importlib import import_module

import pytest

from embed.catalogue.formats.registry import FORMATS, format_of_start, format_of_suffix


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_each_format_is_read_by_what_it_names(one):
    if one.package == "pyarrow":
        pytest.importorskip("pyarrow")
    module, _, name = one.table.partition(":")
    assert callable(getattr(import_module(f"embed.catalogue.formats.{module}"), name))


def test_no_two_formats_have_one_suffix():
    suffixes = [suffix for one in FORMATS for suffix in one.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert {format_of_suffix(suffix) for suffix in suffixes} <= set(FORMATS)
    assert format_of_suffix(".txt") is None


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b'\n {"id": 1}', "JSON"),
        (b"\xef\xbb\xbf[{", "JSON"),
        ("\ufeff[ {".encode("utf-16-le"), "JSON"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>', "XML"),
        ('\ufeff<?xml version="1.0"?>'.encode("utf-16-le"), "XML"),
        (b'<rss version="2.0">', "XML"),
        (b'<!-- made by hand -->\n<!DOCTYPE shop SYSTEM "shops.dtd"><shop><offer>', "XML"),
        (b"<!-- made by hand --><!doctype html><shop><offer>", None),
        (b"<!-- a --> " * 300 + b"<html>", None),
        (b"<SHOP>\n<SHOPITEM>", "XML"),
        (b"<Table><Row>", None),  # HTML in capitals
        (b'<html lang="en">', None),
        (b"<id>,<text>\n1,mug", None),
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", "Excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "old Excel"),
        (b"PK\x03\x04" + bytes(26) + b"data.csv", None),
        (b"id,text\n1,{}", None),
        (b"", None),
    ],
)
def test_the_first_bytes_say_what_a_file_is(start, name):
    table_format = format_of_start(start)
    assert (table_format and table_format.name) == name
