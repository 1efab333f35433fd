"""Why pictures that a catalogue names are not there: the cheap explanations, tried on a sample of them."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cache.cloud.addresses import is_address, is_url, resolved
from embed.amounts import plural
from embed.catalogue.catalogue import Catalogue
from embed.catalogue.pictures.files import pictures_below
from embed.catalogue.pictures.image_template import with_last_names
from embed.catalogue.pictures.picture_lists import last_name, n_last_names_shared, plain_path
from embed.contents.statuses import ABSENT
from embed.errors import CatalogueError
from embed.settings import ExtractSettings

__all__ = ["EXPLAINED", "explain_missing", "tell_missing"]

log = logging.getLogger("embed_once")

EXPLAINED = ("missing", "outside", "url")  # statuses of cells that a file of another name may stand for
N_LOOKED_AT = 200
LEAST_SHARE = 0.1  # of these, to be worth a word


@dataclass(frozen=True)
class _Explanation:
    """How a file's path differs from the cell that should have named it."""

    reasons: tuple[str, ...]
    template: str  # that makes it from the cell; "" where none does


def explain_missing(cells: Sequence[str], root: Path, *, column: str) -> str:
    """Return in a sentence what would lead the cells to files below `root`; "" where nothing simple does.

    Args:
        cells: those whose pictures are not there.
        root: what their paths are relative to.
        column: the name of their column, for a template.
    """
    if is_address(root):  # whose objects are not searched
        return ""
    step = max(1, len(cells) // N_LOOKED_AT)
    sample = [cell.strip() for cell in cells[::step]][:N_LOOKED_AT]
    files = _files_like(sample, root)
    counts: Counter[_Explanation] = Counter()
    examples: dict[_Explanation, tuple[str, str]] = {}
    for cell in sample:
        paths = [path for path in files[cell] if (root / path).is_file()]  # and no link that leads to nothing
        shared = {path: n_last_names_shared(cell, path) for path in paths}
        paths = [path for path in paths if shared[path] == max(shared.values())]
        for explanation, path in {_explain(cell, path, column): path for path in paths}.items():
            counts[explanation] += 1
            examples.setdefault(explanation, (cell, path))
    if not counts:
        return ""
    explanation, n = max(counts.items(), key=lambda pair: (pair[1], -len(pair[0].reasons)))
    if n < max(LEAST_SHARE * len(sample), min(2, len(sample))):
        return ""
    cell, path = examples[explanation]
    remedy = "Write them so in the catalogue."
    if explanation.template:
        remedy = f"Try --image-template '{explanation.template}' instead of the column."
    return (
        f"{plural(len(cells), 'picture')} {'is' if len(cells) == 1 else 'are'} not there; of {len(sample)} looked at, "
        f"{n} {'is' if n == 1 else 'are'} there "
        f"{', '.join(explanation.reasons)}, as {cell[:100]!r} is {path!r}. {remedy}"
    )


def tell_missing(
    statuses: Sequence[str], cells: Sequence[str], catalogue: Catalogue, settings: ExtractSettings
) -> None:
    """Note what would lead to pictures that are not there.

    Raises:
        CatalogueError: not one of those that are named is there.
    """
    named_rows = [row for row, status in enumerate(statuses) if status != ABSENT]
    missing_rows = [row for row in named_rows if statuses[row] in EXPLAINED]
    if not missing_rows:
        return
    root = resolved(settings.image_root or catalogue.folder)
    column = catalogue.roles["image"]
    explanation = explain_missing([cells[row] for row in missing_rows], root, column=column)
    if len(missing_rows) < len(named_rows):
        if explanation:
            log.warning("Column %s: %s", column, explanation)
        return
    remedies = ["Name their folder with --image-root"]
    if "url" in statuses:
        remedies.append("fetch what is a URL")
    if "outside" in statuses:
        remedies.append("permit others with --allow-outside")
    if "text" in catalogue.roles:
        remedies.append("do without them: --modalities text")
    remedy = f"{', or '.join(remedies)}."
    first = named_rows[0]
    raise CatalogueError(
        f"Expected the pictures in column {column} to be files below {root}, but none of the {len(named_rows)} is: "
        f"{cells[first][:100]!r} is {statuses[first]}. {f'{explanation} Or: {remedy}' if explanation else remedy}"
    )


def _files_like(cells: Sequence[str], root: Path) -> Mapping[str, list[str]]:
    """Return for each cell the files below `root` of its name, whatever the folder, the suffix and the case."""
    cells_of: dict[str, set[str]] = defaultdict(set)  # by the names in them, and these without suffix
    for cell in cells:
        name = PurePosixPath(plain_path(cell)).name.lower()
        if name:
            cells_of[name].add(cell)
            cells_of[PurePosixPath(name).stem].add(cell)
    files: dict[str, list[str]] = defaultdict(list)
    for path in pictures_below(root):
        name = path.rpartition("/")[2].lower()
        for cell in cells_of.get(name, set()) | cells_of.get(name.rpartition(".")[0], set()):
            files[cell].append(path)
    return files


def _explain(cell: str, path: str, column: str) -> _Explanation:
    """Return how the path of a file differs from a cell of about its name."""
    plain = plain_path(cell)
    reasons = []
    if is_url(cell):
        reasons.append("under the URL's last name")
    elif "\\" in cell:
        reasons.append("with / for \\")
    folder, name = str(PurePosixPath(plain).parent), PurePosixPath(plain).name
    path_folder, path_name = str(PurePosixPath(path).parent), PurePosixPath(path).name
    n_shared = n_last_names_shared(cell, path)
    is_elsewhere = not is_url(cell) and folder.lower() != path_folder.lower()
    if is_elsewhere and n_shared > 1:
        reasons.append(f"by the last {n_shared} names of the path")
    elif is_elsewhere:
        reasons.append(f"in {path_folder}/" if path_folder != "." else "in the folder itself")
    is_same = name == path_name
    if name.lower() != path_name.lower():
        suffix = PurePosixPath(path_name).suffix
        reasons.append(f"with the suffix {suffix}" if PurePosixPath(name).suffix else f"with {suffix} behind")
        is_same = path_name.startswith(PurePosixPath(name).stem)
    if not is_same or (folder != path_folder and folder.lower() == path_folder.lower()):
        reasons.append("in other letter case")
    if not reasons:
        reasons.append("under a plainer name")
    return _Explanation(tuple(reasons), _template(cell, path, column))


def _template(cell: str, path: str, column: str) -> str:
    """Return the template that makes the path from the cell, or from its last name; "" for none."""
    if {*"{}"} & {*path} or not column or {*"{}:!"} & {*column}:
        return ""
    if cell and cell in path:
        before, _, behind = path.rpartition(cell)
        return f"{before}{{{column}}}{behind}"
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    n_shared = n_last_names_shared(cell, path)
    if template := with_last_names(path, column, n_shared):
        return template
    if n_shared == 1:
        return f"{folder}{slash}{{{column}:name}}"
    return f"{folder}{slash}{{{column}:stem}}{dot}{suffix}" if PurePosixPath(last_name(cell)).stem == stem else ""
