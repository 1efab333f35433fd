"""The elements of an XML file one by one, as they end; what a stranger's file could do to memory is bounded."""

from __future__ import annotations

import codecs
import html
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from embed.catalogue.text_file import MAX_LINE, open_bytes
from embed.errors import CatalogueError

__all__ = ["Element", "ElementPath", "Value", "elements_of"]

START_BYTES = 1024  # of a file, among which its declaration is
CHUNK = 2**16  # bytes that are parsed at once
MOST_DEPTH = 50  # elements within one another
LANGUAGES = ("xml:lang", "lang", "language")  # attributes that say a text's language
ADDRESSES = ("href", "src", "url", "value")  # attributes that say what an element does without a text

NULL = "xsi:nil"  # the attribute of an element that has no value
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_DECLARED = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)""")

ElementPath = tuple[str, ...]  # names, from the root down
Value = str | dict[str, str]  # a text, or an object of one in a language: {"language": "en", "value": "mug"}


class Element:
    """An element, its attributes and what is in it."""

    __slots__ = ("attributes", "children", "has_text", "path", "texts")

    def __init__(self, path: ElementPath, attributes: dict[str, str]) -> None:
        self.path = path
        self.attributes = attributes
        self.children: list[Element] = []
        self.texts: list[str] = []  # of what is in it, too
        self.has_text = False  # of its own

    def values(self) -> dict[str, list[Value]]:
        """Return the values of its parts by name: attributes, elements with a text, and what is in other elements.

        The name of a part in another begins with that one's, as `image_url`, but not in a list: `images/image`.
        """
        values: dict[str, list[Value]] = defaultdict(list)
        for name, text in self.attributes.items():
            if not name.startswith(("xmlns", "xml:", "xsi:")):
                values[name].append(text.strip())
        for child in self.children:
            if child.children and not child.has_text:
                for name, inner_values in child.values().items():
                    values[child.prefix + name.rpartition(":")[2] if child.prefix else name].extend(inner_values)
            else:
                values[child.name].append(child.value)
        return values

    @property
    def name(self) -> str:
        """What its value is called: `color` of both `<color>red</color>` and `<param name="color">red</param>`."""
        has_value = self.has_text or any(name in self.attributes for name in (*ADDRESSES, NULL))
        return (has_value and self.attributes.get("name", "").strip()) or self.path[-1]

    @property
    def value(self) -> Value:
        """Its text, with its language where an attribute says one; without text what an attribute says."""
        text = " ".join("".join(self.texts).split())
        if not text:
            attributes = {} if NULL in self.attributes else self.attributes
            return next((attributes[name].strip() for name in (*ADDRESSES, "name") if name in attributes), "")
        language = next((self.attributes[name] for name in LANGUAGES if name in self.attributes), "")
        return {"language": language, "value": text} if language else text

    @property
    def prefix(self) -> str:
        """What the names of its parts begin with: its own name, but of a list nothing."""
        name = self.path[-1]
        parts = {child.path[-1].lower() for child in self.children}
        return "" if all(len(part) > 2 and name.lower().startswith(part[:-1]) for part in parts) else f"{name}_"


def elements_of(
    path: Path, encoding: str | None, product_path: ElementPath = (), *, most_bytes: float = math.inf
) -> Iterator[Element]:
    """Yield each element when it ends, with what is in it; those around products hold nothing.

    Entities that HTML knows are read, though XML does not know them; a file that declares some itself is refused.

    Args:
        path: the file; its name says how it is compressed.
        encoding: of its text; None: as its mark says, or its declaration.
        product_path: where the products are.
        most_bytes: of the file, that are read.

    Raises:
        CatalogueError: the file is not well-formed or ends early, or has an element that is too large or too deep.
    """
    elements = _OpenElements(path, len(product_path))
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # else an entity that the file does not declare is an error
    parser.ExternalEntityRefHandler = lambda *_: 1  # which is read from nowhere
    parser.EntityDeclHandler = elements.refuse_entity
    parser.StartElementHandler = elements.start
    parser.EndElementHandler = elements.end
    parser.CharacterDataHandler = elements.add_text
    parser.DefaultHandler = elements.add_entity
    n_bytes = 0
    with open_bytes(path) as file:
        chunk = file.read(START_BYTES)
        decoder = _decoder(path, chunk, encoding)
        while True:
            try:
                text = decoder.decode(chunk, not chunk)
                content = (text if n_bytes else text.lstrip()).encode()  # programs often write an empty line first
                n_bytes += len(content)
                parser.Parse(content, not chunk)
            except CatalogueError:
                raise
            except (expat.ExpatError, UnicodeError) as error:
                raise CatalogueError(
                    f"Expected {path} to be well-formed XML, but it is not: {error}. Mend it there, download it again, "
                    "or name its --encoding."
                ) from error
            if n_bytes - parser.CurrentByteIndex > MAX_LINE:
                elements.refuse_size()
            yield from elements.take_ended()
            if not chunk or n_bytes >= most_bytes:
                return
            chunk = file.read(CHUNK)


def _decoder(path: Path, start: bytes, requested: str | None) -> codecs.IncrementalDecoder:
    """Return what decodes a file: as requested, else as its mark says, else its declaration, else UTF-8.

    expat itself knows no encodings of several bytes a character but Unicode's. A declaration that can be read says
    UTF-16 by mistake: so programs write that convert the text afterwards.

    Raises:
        CatalogueError: there is no such encoding.
    """
    declaration = _DECLARED.match(start)
    declared = declaration[1].decode() if declaration else "utf-8"
    marked = next((encoding for mark, encoding in MARKS.items() if start.startswith(mark)), None)
    name = requested or marked or ("utf-8" if declared.lower().startswith("utf-16") else declared)
    try:
        b" ".decode(name, "replace")  # which takes encodings of text alone
        name = codecs.lookup(name).name
        return codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)()
    except (LookupError, ValueError) as error:
        option = "--encoding: expected one" if requested else f"Expected {path} to be in an encoding"
        raise CatalogueError(f"{option} that Python knows, got {name!r}. Name its --encoding.") from error


class _OpenElements:
    """The elements that have begun and not ended, and those that have ended since they were last taken."""

    def __init__(self, path: Path, n_outside: int) -> None:
        self._path = path
        self._n_outside = n_outside  # the depth of products, whose parents keep nothing
        self._open: list[Element] = []
        self._ended: list[Element] = []
        self._size = 0  # characters of the product that is open

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        outer_path = self._open[-1].path if self._open else ()
        if len(outer_path) >= MOST_DEPTH:
            raise CatalogueError(
                f"Expected {self._path} to hold products, elements with a part for each column, but it has more than "
                f"{MOST_DEPTH} elements within one another. Write it as CSV or JSON."
            )
        self._open.append(Element((*outer_path, name), attributes))
        self._grow(len(name) + sum(map(len, attributes.values())))

    def end(self, _: str) -> None:
        """End the innermost element."""
        element = self._open.pop()
        if self._open and len(element.path) > self._n_outside:
            self._open[-1].children.append(element)
            self._open[-1].texts.extend(element.texts)
        else:
            self._size = 0
        self._ended.append(element)

    def add_text(self, text: str) -> None:
        """Add to the text of the innermost element."""
        element = self._open[-1]
        if len(element.path) >= self._n_outside:
            element.texts.append(text)
            element.has_text = element.has_text or not text.isspace()
            self._grow(len(text))

    def add_entity(self, text: str) -> None:
        """Add an entity that XML does not know; comments and the like come here, too, and are none."""
        if text.startswith("&") and self._open:
            self.add_text(html.unescape(text))

    def refuse_entity(self, name: str, *_: object) -> NoReturn:
        """Refuse a declared entity: a few that name one another fill all memory."""
        raise CatalogueError(
            f"Expected {self._path} to declare no entities, got {name}. Write their text where they are used."
        )

    def refuse_size(self) -> NoReturn:
        """Refuse what no memory should hold."""
        raise CatalogueError(
            f"Expected the products of {self._path} to have up to {MAX_LINE:,} characters each, got one with more. "
            "Mend the file where an element does not end."
        )

    def take_ended(self) -> list[Element]:
        """Return the elements that have ended since this was last called, inner ones before those around them."""
        ended, self._ended = self._ended, []
        return ended

    def _grow(self, n_characters: int) -> None:
        self._size += n_characters
        if self._size > MAX_LINE:
            self.refuse_size()
