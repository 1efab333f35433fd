"""From a catalogue of raw products to a cache with the vectors that heads look at; it needs an encoder."""

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

N_LOOKED_AT = 200  # products, until one has its picture where the settings say
COMPRESSIONS = (".bz2", ".gz", ".xz", ".zip", ".zst")

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class RawColumns:
    """The columns of a raw catalogue that heads look at; None: those that the training's catalogue had."""

    id_column: str | None = None
    image_column: str | None = None
    text_columns: str | None = None  # several with commas
    image_root: Path | None = None


def is_cache(path: Path) -> bool:
    """Return whether a path names a cache, which need not exist yet; else it is a catalogue."""
    has_suffix = path.suffix in (".h5", ".hdf5")
    if has_suffix or not path.is_file():
        return has_suffix and not path.is_dir()
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
    """Encode the contents of a catalogue that are in no cache yet, and return the modalities that it has nothing of.

    Vectors that the training's cache has are taken from it.

    Raises:
        HeadError: the catalogue has nothing of what the heads look at, or an encoder is another by now.
        CatalogueError, CacheError: as `embed.extract`.
    """
    from embed import extract

    settings, absent = _extract_settings(run, catalogue_path, columns or RawColumns())
    encoders = [
        part
        for modality, encoder in run.encoders.items()
        if modality not in absent
        for part in getattr(encoder, "parts", [encoder])
    ]
    extract(catalogue_path, cache_path, settings=settings, encoders=encoders)
    return absent


def _extract_settings(run: Run, path: Path, columns: RawColumns) -> tuple[ExtractSettings, frozenset[str]]:
    """Return how the catalogue's contents are made as in training, and the modalities that it has nothing of."""
    from embed.settings import ExtractSettings

    if not run.encoders:
        raise HeadError(
            f"Expected a head that looks at pictures or texts, got {', '.join(run.heads)}, of metadata alone. Add one "
            f"with --head, or extract {path} and name its cache instead."
        )
    content_settings = {}  # modality -> the settings of an extraction that make its contents
    for modality in run.encoders:
        spec = run.contents.get(modality)
        content_settings[modality] = (
            _requested_columns(modality, columns) if spec is None else _content_settings(spec, columns)
        )
    catalogue_columns = _columns_of(path, content_settings)
    fields: dict[str, Any] = {}
    absent = set()
    for modality, settings in content_settings.items():
        names = _column_names(modality, settings)
        if modality == "image" and "image_template" in settings and columns.image_column is None:
            fields |= _picture_settings(path, settings, columns)
        elif modality in run.contents and not names & set(catalogue_columns):
            absent.add(modality)
        else:
            fields |= settings
    present = tuple(modality for modality in run.encoders if modality not in absent)
    if not present:
        raise HeadError(
            f"Expected {path} to have what the heads of {run.path} look at, but it has none of their columns "
            f"({', '.join(catalogue_columns[:20])}). Name its columns with --image-column and --text-columns."
        )
    for modality in sorted(absent):
        _warn_of_absent(path, sorted(_column_names(modality, content_settings[modality])), modality)
    _warn_of_absent_metadata(run, path, catalogue_columns)
    fields |= {"id_column": columns.id_column, "image_root": columns.image_root}
    reuse = () if run.cache_path is None else (run.cache_path,)
    return ExtractSettings(modalities=present, reuse=reuse, **fields), frozenset(absent)


def _columns_of(path: Path, content_settings: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Return the names of a catalogue's columns."""
    from embed.catalogue.open_table import open_table
    from embed.settings import ExtractSettings

    image_column = content_settings.get("image", {}).get("image_column")
    with without_notes():  # the extraction tells the same
        return open_table(path, ExtractSettings(image_column=image_column)).columns


def _picture_settings(path: Path, trained: Mapping[str, Any], columns: RawColumns) -> Mapping[str, Any]:
    """Return the settings for pictures: those of the training, or without its templates where others are searched.

    Templates are searched where those of the training name another split than the catalogue does, or lead to no
    picture, provided that the search finds some.
    """
    from embed.catalogue.split_names import is_of_split

    templates = trained["image_template"]
    searched = {name: value for name, value in trained.items() if name != "image_template"}
    names_split = not is_of_split(path.name, "")
    is_of_other_split = names_split and not all(is_of_split(template, path.name) for template in templates)
    is_elsewhere = is_of_other_split or not _lead_to_pictures(path, trained, columns)
    if not (is_elsewhere and _lead_to_pictures(path, searched, columns)):
        return trained
    lack = "The training's pictures" if is_of_other_split else "No picture is where the training's"
    log.info("%s were (%s): those that are there are taken.", lack, ", ".join(map(repr, templates)))
    return searched


def _lead_to_pictures(path: Path, picture_settings: Mapping[str, Any], columns: RawColumns) -> bool:
    """Return whether an extraction with these settings finds a picture of one of the first products.

    Without a template it searches one: ``test_images/{id}.jpg`` where the training had ``train_images/{id}.jpg``.
    """
    from embed.catalogue.pictures.pictured_table import open_pictured
    from embed.catalogue.table import first_rows, folder_of
    from embed.settings import ExtractSettings

    root = columns.image_root or folder_of(path)
    if is_address(root):  # whose objects are not searched
        return True
    with without_notes():  # the extraction tells the same
        table, settings = open_pictured(path, ExtractSettings(**picture_settings, image_root=columns.image_root))
    cells = first_rows(table).get(settings.image_column or "", [])[:N_LOOKED_AT]
    return any((root / spelling_in(root, cell)).is_file() for cell in cells)


def _warn_of_absent(path: Path, columns: Sequence[str], modality: str) -> None:
    log.warning("%s has no column %s: its products are answered without %s.", path, ", ".join(columns), modality)


def _warn_of_absent_metadata(run: Run, path: Path, catalogue_columns: Sequence[str]) -> None:
    absent = [name for name in run.metadata_columns if name not in catalogue_columns]
    if absent and len(absent) == len(run.metadata_columns):
        _warn_of_absent(path, absent, METADATA)
    elif absent:
        log.warning("%s has no column %s: its cells count as empty.", path, ", ".join(absent))


def _content_settings(spec: ContentSpec, columns: RawColumns) -> dict[str, Any]:
    """Return the settings of an extraction that make a modality's contents as a spec says, of the columns asked for."""
    requested = _requested_columns(spec.modality, columns)
    if spec.modality == "image":
        pictures_setting = {"pictures": combination} if (combination := spec.fields.get("pictures")) else {}
        if requested:
            return requested | pictures_setting
        if spec.fields.get("templates"):
            return {"image_template": tuple(spec.fields["templates"])} | pictures_setting
        return {"image_column": spec.columns[0]} | pictures_setting
    names = requested.get("text_columns", ",".join(spec.columns)).split(",")
    text_settings: dict[str, Any] = {"text_columns": ",".join(names)} if len(names) > 1 else {"text_column": names[0]}
    return text_settings | ({"clean_text": True} if spec.fields.get("clean") else {})


def _requested_columns(modality: str, columns: RawColumns) -> dict[str, Any]:
    if modality == "image":
        return {} if columns.image_column is None else {"image_column": columns.image_column}
    return {} if columns.text_columns is None else {"text_columns": columns.text_columns}


def _column_names(modality: str, settings: Mapping[str, Any]) -> set[str]:
    names = settings.get("text_columns") or settings.get(f"{modality}_column") or ""
    return set(names.split(",")) - {""}
