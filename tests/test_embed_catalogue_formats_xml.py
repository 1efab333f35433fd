"""XML as people have it: feeds of shops and exports of databases; and files that mean harm."""

import gzip
import logging
from contextlib import nullcontext
from pathlib import Path

import pytest
from formats import rows_of

from embed import CatalogueError, ExtractSettings, read_catalogue
from embed.catalogue.formats import xml_elements, xml_feed
from embed.catalogue.open_table import open_table

GOOGLE = """\
<?xml version="1.0"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel>
  <title>A shop</title><link>https://shop</link><description>All it has</description>
  <item><g:id>01</g:id><title>Red mug</title><description><![CDATA[<p>Tea &amp; more</p>]]></description>
    <g:image_link>1.jpg</g:image_link><g:additional_image_link>1b.jpg</g:additional_image_link>
    <g:additional_image_link>1c.jpg</g:additional_image_link><g:product_type>Home &gt; Mugs</g:product_type>
    <g:shipping><g:country>DE</g:country><g:price>3 EUR</g:price></g:shipping>
    <g:shipping><g:country>AT</g:country><g:price>4 EUR</g:price></g:shipping></item>
  <item><g:id>02</g:id><title>Blue&nbsp;mug</title><g:image_link>2.jpg</g:image_link><!-- & -->
    <g:product_type>Home &gt; Mugs</g:product_type></item>
</channel></rss>
"""
YML = """\
<?xml version="1.0" encoding="windows-1251"?>
<yml_catalog date="2020-01-01"><shop><name>Shop</name><url>u</url><categories>
  <category id="1">Книги</category><category id="2" parentId="1">Романы</category><category id="3">Other</category>
</categories><offers>
  <offer id="12" available="true"><name>Война</name><picture>a.jpg</picture><picture>b.jpg</picture>
    <param name="Цвет">red</param><param name="Size" unit="cm">5</param></offer>
  <offer id="13" available="false"><name>Мир</name><picture>c.jpg</picture><param name="Цвет">blue</param></offer>
</offers></shop></yml_catalog>
"""
DATABASE = """\
<?xml version="1.0"?>
<mysqldump xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><database name="shop"><table_data name="products">
  <row><field name="id">1</field><field name="name">Mug</field><field name="image" xsi:nil="true" /></row>
  <row><field name="id">2</field><field name="name">Cup</field><field name="image">2.jpg</field></row>
</table_data></database></mysqldump>
"""
ATOM = """\
<feed xmlns="http://www.w3.org/2005/Atom"><title>A shop</title><id>shop</id>
<entry><id>1</id><title>Mug</title><link href="https://shop/1"/><image><url>1.jpg</url></image></entry>
<entry><id>2</id><title>Cup</title><link href="https://shop/2"/><image><url>2.jpg</url></image></entry></feed>
"""


@pytest.fixture(autouse=True)
def info(caplog):
    caplog.set_level(logging.INFO, "embed_once")


def read(content, name="feed.xml", **settings):
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return rows_of(open_table(path, ExtractSettings(**settings)))


def products(*contents):
    return (
        f"<products>{''.join(f'<product><id>{n}</id>{part}</product>' for n, part in enumerate(contents))}</products>"
    )


@pytest.mark.parametrize("name", ["feed.xml", "feed.csv", "feed", "feed.xml.gz"])
def test_items_of_a_feed_are_the_products_whatever_its_name_says(name, caplog):
    rows = read(gzip.compress(GOOGLE.encode()) if name.endswith(".gz") else GOOGLE, name)
    assert rows == [
        {
            "id": "01", "title": "Red mug", "description": "<p>Tea &amp; more</p>", "image_link": "1.jpg",
            "additional_image_link": "1b.jpg. 1c.jpg", "product_type": "Home > Mugs",
            "shipping_country": "DE. AT", "shipping_price": "3 EUR. 4 EUR",
        },
        {
            "id": "02", "title": "Blue mug", "description": "", "image_link": "2.jpg",
            "additional_image_link": "", "product_type": "Home > Mugs", "shipping_country": "",
            "shipping_price": "",
        },
    ]  # fmt: skip
    assert "its elements rss/channel/item." in caplog.text
    roles = read_catalogue(name).roles
    assert (roles["image"], roles["text"]) == ("image_link", "title")
    assert list(read_catalogue(name).ids) == ["01", "02"]


def test_a_prefix_stays_where_another_part_is_called_so():
    (row,) = read("<l><p><title>a</title><g:title>b</g:title><g:price>1</g:price></p></l>")
    assert row == {"title": "a", "g:title": "b", "price": "1"}


def test_offers_are_the_products_and_not_the_more_numerous_categories():
    first, second = read(YML.encode("cp1251"))
    assert first == {
        "id": "12", "available": "true", "name": "Война", "picture": '["a.jpg", "b.jpg"]', "Цвет": "red", "Size": "5",
    }  # fmt: skip
    assert (second["id"], second["picture"], second["Size"]) == ("13", "c.jpg", "")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (DATABASE, [{"id": "1", "name": "Mug", "image": ""}, {"id": "2", "name": "Cup", "image": "2.jpg"}]),
        (
            ATOM,
            [
                {"id": "1", "title": "Mug", "link": "https://shop/1", "image_url": "1.jpg"},
                {"id": "2", "title": "Cup", "link": "https://shop/2", "image_url": "2.jpg"},
            ],
        ),
        (
            '<list><p id="1" name="Mug"/><p id="2" name="Cup"/></list>',
            [{"id": "1", "name": "Mug"}, {"id": "2", "name": "Cup"}],
        ),
        (
            "<export><info><date>1</date><user>me</user></info><rows><row><nr>1</nr><was>Tasse</was></row>"
            "<row><nr>2</nr><was>Glas</was></row></rows></export>",
            [{"nr": "1", "was": "Tasse"}, {"nr": "2", "was": "Glas"}],
        ),
        (
            "<l><p><id>1</id><name>Mug</name><v><id>1a</id><name>S</name></v><v><id>1b</id><name>L</name></v></p>"
            "<p><id>2</id><name>Cup</name><v><id>2a</id><name>S</name></v></p></l>",
            [
                {"id": "1", "name": "Mug", "v_id": "1a. 1b", "v_name": "S. L"},
                {"id": "2", "name": "Cup", "v_id": "2a", "v_name": "S"},
            ],
        ),
        (
            "<l><brand><id>7</id><name>A</name></brand><brand><id>8</id><name>B</name></brand>"
            + "".join(f"<p><id>{n}</id><name>Mug</name></p>" for n in range(3))
            + "</l>",
            [{"id": f"{n}", "name": "Mug"} for n in range(3)],
        ),
        ("<shop><product><id>1</id><name>Mug</name></product></shop>", [{"id": "1", "name": "Mug"}]),
    ],
    ids=["database", "Atom", "attributes", "no usual names", "the nearest to the root", "the most", "one product"],
)
def test_elements_with_parts_are_products(content, rows):
    assert read(content) == rows


@pytest.mark.parametrize(
    ("part", "cells"),
    [
        ("<images><image>a</image><image>b</image></images>", {"image": '["a", "b"]'}),
        ("<tag>a</tag><tag>b</tag><tag>a</tag>", {"tag": "a. b"}),
        ("<text>Fine <b>red</b> mug</text>", {"text": "Fine red mug"}),
        ("<text>\n  Fine\n  mug </text>", {"text": "Fine mug"}),
        ('<title xml:lang="de">Becher</title><title xml:lang="en">mug</title>', {"title": "mug"}),
        ('<title xml:lang="de">Becher</title>', {"title": "Becher"}),
        ('<param name="size" value="5"/><brand name="Ä"/>', {"size": "5", "brand": "Ä"}),
        ("<a><b><c>1</c></b><b><c>2</c></b></a>", {"a_b_c": "1. 2"}),
        (
            "<name>Mug</name><kind><name>Home</name><kind><name>Cups</name></kind></kind>",
            {"name": "Mug", "kind_name": "Home", "kind_kind_name": "Cups"},
        ),
        ("<text/>", {"text": ""}),
    ],
)
def test_parts_of_a_product_are_cells(part, cells):
    first, second = read(products(part, "<other>1</other>"))
    assert first == {"id": "0", **cells, "other": ""}
    assert second == {"id": "1", **dict.fromkeys(cells, ""), "other": "1"}


def test_chunks_cut_nothing(monkeypatch):
    whole = read(GOOGLE), read(YML.encode("cp1251"), "y.xml")
    monkeypatch.setattr(xml_elements, "START_BYTES", 60)  # that say the encoding
    monkeypatch.setattr(xml_elements, "CHUNK", 3)
    assert (read(GOOGLE), read(YML.encode("cp1251"), "y.xml")) == whole


@pytest.mark.parametrize("start", ["\n ", "\n" * 2000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_empty_lines_before_the_declaration_are_nothing(start, encoding):
    """Which XML forbids."""
    assert read(f"{start}{GOOGLE}".encode(encoding)) == read(GOOGLE)


@pytest.mark.parametrize(
    ("declared", "encoding", "requested"),
    [
        ("", "utf-16", None),
        ("", "utf-8-sig", "utf-8"),
        ("", "cp1252", "cp1252"),
        ("", "shift_jis", "shift_jis"),
        ("gbk", "gbk", None),  # of several bytes a character
        ("big5", "gbk", "gbk"),
        ("utf-8", "utf-16", None),  # as programs save what others wrote
        ("utf-16", "utf-8", None),
    ],
)
def test_encoding_is_that_of_the_option_or_the_mark_or_the_declaration(declared, encoding, requested):
    name = "Größe" if encoding == "cp1252" else "紅茶杯"
    declaration = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    content = declaration + products(f"<name>{name}</name>", "<name>b</name>")
    assert read(content.encode(encoding), encoding=requested)[0]["name"] == name


def test_text_in_another_encoding_is_a_named_error():
    content = products("<name>Größe</name>", "<name>Maß</name>")
    with pytest.raises(CatalogueError, match=r"well-formed XML, but it is not: .*byte 0xf6.* or name its --encoding"):
        read(content.encode("cp1252"))
    with pytest.raises(CatalogueError, match="--encoding: expected one that Python knows, got 'no-such'"):
        read(content, encoding="no-such")
    for name in ("no-such", "zip"):  # the second is none of text
        with pytest.raises(CatalogueError, match=f"in an encoding that Python knows, got '{name}'"):
            read(f'<?xml version="1.0" encoding="{name}"?>{content}')


def test_a_name_that_comes_late_takes_nothing_from_one_that_lost_its_prefix(monkeypatch):
    monkeypatch.setattr(xml_feed, "LOOKED_AT_BYTES", 100)
    monkeypatch.setattr(xml_elements, "START_BYTES", 100)
    assert read(products(*["<g:size>5</g:size>"] * 9, "<g:size>6</g:size><size>7</size>"))[-1]["size"] == "6. 7"


def test_a_file_that_ends_early_is_refused_wherever_it_ends(monkeypatch):
    monkeypatch.setattr(xml_feed, "LOOKED_AT_BYTES", 100)  # so that the end is met while the rows are read
    content = products(*["<name>mug</name>"] * 50)
    assert len(read(content)) == 50
    for end in (-20, -11):  # amid a tag, and before one
        with pytest.raises(CatalogueError, match="well-formed XML, but it is not: (unclosed token|no element found)"):
            read(content[:end])


BOMB = "<!DOCTYPE a [<!ENTITY a '" + "a" * 1000 + "'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 100}'>" for before, name in zip("abcd", "bcde", strict=True)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"<?xml version='1.0'?>{BOMB}<l><p><id>1</id><t>&e;</t></p></l>", "declare no entities, got a"),
        ("<?xml version='1.0'?><l>" + "<a>" * 1000, "more than 50 elements within one another"),
        (products(f"<t>{'a' * 3000}</t>"), "one with more"),
        (products(f"<t at='{'a' * 3000}'/>"), "one with more"),
        (products("<t/>" * 3000), "one with more"),
        ("<?xml version='1.0'?><l><a>1</a><a>2</a></l>", "none has two parts"),
        ("<?xml version='1.0'?><ss:Workbook><Row><Cell/></Row></ss:Workbook>", "Excel's in XML.* save it as .xlsx"),
        ("<?xml version='1.0'?><l><p>Salt & Pepper</p></l>", "well-formed"),
    ],
    ids=["entities", "depth", "text", "attribute", "elements", "no parts", "spreadsheet", "ampersand"],
)
def test_what_is_no_list_of_products_is_a_named_error(content, message, monkeypatch):
    monkeypatch.setattr(xml_elements, "MAX_LINE", 2000)
    with pytest.raises(CatalogueError, match=f"(?s){message}"):
        read(content)


def test_external_entities_are_read_from_nowhere(tmp_path):
    (tmp_path / "secret").write_text("secret")
    doctype = f'<!DOCTYPE l SYSTEM "{tmp_path}/secret">'
    assert read(f"<?xml version='1.0'?>{doctype}" + products("<t>a</t>", "<t>&x;</t>"))[1] == {"id": "1", "t": "&x;"}
    declared = f'<!DOCTYPE l [<!ENTITY x SYSTEM "{tmp_path}/secret">]>'
    with pytest.raises(CatalogueError, match="declare no entities"):
        read(f"<?xml version='1.0'?>{declared}" + products("<t>&x;</t>"))


def test_a_huge_token_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(xml_elements, "MAX_LINE", 100_000)
    n_read = 0

    class Endless:
        def read(self, size):
            nonlocal n_read
            n_read += size
            return b"<a b='" if n_read == size else b"a" * size

    monkeypatch.setattr(xml_elements, "open_bytes", lambda _: nullcontext(Endless()))
    with pytest.raises(CatalogueError, match="one with more"):
        list(xml_elements.elements_of(Path("feed.xml"), None))
    assert n_read < 500_000
