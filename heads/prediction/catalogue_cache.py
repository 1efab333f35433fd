"""A catalogue of raw products becomes a cache with what heads look at: this needs an encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache import ContentSpec
from cache.cloud.addresses import is_address
from cache.console.notes import without_notes
from cache.system.name_spellings import spelling_in
from cache.system.reading import reading
from heads.data.metadata.fitted_metadata import METADATA
from heads.errors import HeadError
from heads.prediction.run import Run

if TYPE_CHECKING:
    from embed.settings import ExtractSettings

__all__ = ["RawColumns", "extract_for", "is_cache", "usual_cache_path"]

N_LOOKED_AT = 200  # products, for a picture where the training had them
COMPRESSIONS = (".bz2", ".gz", ".xz", ".zip", ".zst")

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class RawColumns:
    """Where a catalogue of raw products has what heads look at; None: where the catalogue of the training had it."""

    id_column: str | None = None
    image_column: str | None = None
    text_columns: str | None = None  # several with commas
    image_root: Path | None = None


def is_cache(path: Path) -> bool:
    """Return whether a path names a cache, which may be missing yet; else it is a catalogue."""
    if path.suffix in (".h5", ".hdf5") or not path.is_file():
        return not path.is_dir() and path.suffix in (".h5", ".hdf5")
    with reading(path), path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def usual_cache_path(catalogue_path: Path) -> Path:
    """Return where the vectors of a catalogue are kept: beside it.

    >>> usual_cache_path(Path("shop/new.csv.gz")).name, usual_cache_path(Path("sales.2026.csv")).name
    ('new.embeddings.h5', 'sales.2026.embeddings.h5')
    """
    if catalogue_path.name in ("", ".."):  # as of the folder "."
        catalogue_path = catalogue_path.resolve()
    name = Path(catalogue_path.name)
    stem = (name.with_suffix("") if name.suffix in COMPRESSIONS else name).stem or "catalogue"
    return catalogue_path.with_name(f"{''.join(c if c not in '*?[]{}' else '_' for c in stem)}.embeddings.h5")


def extract_for(
    run: Run, catalogue_path: Path, cache_path: Path, *, columns: RawColumns | None = None
) -> frozenset[str]:
    """Encode what of a catalogue is in no cache yet, and return the modalities of contents that it has nothing of.

    Vectors that the cache of the training has are taken from there.

    Raises:
        HeadError: the catalogue has nothing of what the heads look at, or an encoder is another by now.
        CatalogueError, CacheError: as `embed.extract`.
    """
    from embed import extract

    settings, absent = _settings(run, catalogue_path, columns or RawColumns())
    encoders = [
        part
        for modality, encoder in run.encoders.items()
        if modality not in absent
        for part in getattr(encoder, "parts", [encoder])
    ]
    extract(catalogue_path, cache_path, settings=settings, encoders=encoders)
    return absent


def _settings(run: Run, path: Path, columns: RawColumns) -> tuple[ExtractSettings, frozenset[str]]:
    """Return how the catalogue's contents are made as in training, and the modalities that it has nothing of."""
    from embed.catalogue.open_table import open_table
    from embed.catalogue.split_names import is_of_split
    from embed.settings import ExtractSettings

    if not run.encoders:
        raise HeadError(
            f"Expected a head that looks at pictures or texts, got {', '.join(run.heads)}, of metadata alone. Add one "
            f"with --head, or extract {path} and name its cache instead."
        )
    specs = {modality: run.contents.get(modality) for modality in run.encoders}
    made_of = {
        modality: _asked(modality, columns) if spec is None else _made_as(spec, columns)
        for modality, spec in specs.items()
    }
    with without_notes():  # the extraction has the same
        looked_at = ExtractSettings(image_column=made_of.get("image", {}).get("image_column"))
        known = open_table(path, looked_at).columns
    fields: dict[str, Any] = {}
    absent = set()
    for modality, made in made_of.items():
        spec = specs[modality]
        if modality == "image" and "image_template" in made and columns.image_column is None:
            anew = {name: value for name, value in made.items() if name != "image_template"}
            templates = made["image_template"]
            says_split = not is_of_split(path.name, "")
            is_of_other_split = says_split and not all(is_of_split(one, path.name) for one in templates)
            is_elsewhere = is_of_other_split or not _lead_to_pictures(path, made, columns)
            if is_elsewhere and _lead_to_pictures(path, anew, columns):
                lack = "The training's pictures" if is_of_other_split else "No picture is where the training's"
                log.info("%s were (%s): those that are there are taken.", lack, ", ".join(map(repr, templates)))
                fields |= anew
            else:
                fields |= made
        elif spec is not None and not _named(modality, made) & set(known):
            absent.add(modality)
            _tell_absent(path, sorted(_named(modality, made)), modality)
        else:
            fields |= made
    present = tuple(modality for modality in run.encoders if modality not in absent)
    if not present:
        raise HeadError(
            f"Expected {path} to have what the heads of {run.path} look at, but it has none of their columns "
            f"({', '.join(known[:20])}). Name its columns with --image-column and --text-columns."
        )
    if lacking := [name for name in run.metadata_columns if name not in known]:
        if len(lacking) == len(run.metadata_columns):
            _tell_absent(path, lacking, METADATA)
        else:
            log.warning("%s has no column %s: its cells count as empty.", path, ", ".join(lacking))
    fields |= {"id_column": columns.id_column, "image_root": columns.image_root}
    reuse = () if run.cache_path is None else (run.cache_path,)
    return ExtractSettings(modalities=present, reuse=reuse, **fields), frozenset(absent)


def _lead_to_pictures(path: Path, made: Mapping[str, Any], columns: RawColumns) -> bool:
    """Return whether these settings of an extraction lead to a picture of the first products.

    Where a template of the training does not, one that does may be found: ``test_images/{id}.jpg`` for
    ``train_images/{id}.jpg``.
    """
    from embed.catalogue.pictures.pictured_table import open_pictured
    from embed.catalogue.table import first_rows, folder_of
    from embed.settings import ExtractSettings

    root = columns.image_root or folder_of(path)
    if is_address(root):  # whose objects are not searched
        return True
    with without_notes():  # the extraction has the same
        table, settings = open_pictured(path, ExtractSettings(**made, image_root=columns.image_root))
    cells = first_rows(table).get(settings.image_column or "", [])[:N_LOOKED_AT]
    return any((root / spelling_in(root, cell)).is_file() for cell in cells)


def _tell_absent(path: Path, columns: Sequence[str], modality: str) -> None:
    log.warning("%s has no column %s: its products are answered without %s.", path, ", ".join(columns), modality)


def _made_as(spec: ContentSpec, columns: RawColumns) -> dict[str, Any]:
    """Return the settings of an extraction that makes a modality's contents as a spec says, of columns of any name."""
    asked = _asked(spec.modality, columns)
    if spec.modality == "image":
        several = {"pictures": one} if (one := spec.fields.get("pictures")) else {}
        if asked:
            return asked | several
        if spec.fields.get("templates"):
            return {"image_template": tuple(spec.fields["templates"])} | several
        return {"image_column": spec.columns[0]} | several
    names = asked.get("text_columns", ",".join(spec.columns)).split(",")
    made: dict[str, Any] = {"text_columns": ",".join(names)} if len(names) > 1 else {"text_column": names[0]}
    return made | ({"clean_text": True} if spec.fields.get("clean") else {})


def _asked(modality: str, columns: RawColumns) -> dict[str, Any]:
    if modality == "image":
        return {} if columns.image_column is None else {"image_column": columns.image_column}
    return {} if columns.text_columns is None else {"text_columns": columns.text_columns}


def _named(modality: str, made: Mapping[str, Any]) -> set[str]:
    names = made.get("text_columns") or made.get(f"{modality}_column") or ""
    return set(names.split(",")) - {""}
