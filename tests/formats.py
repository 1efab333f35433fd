"""The same products in every format that `embed-extract` reads."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from embed.catalogue.table import Table

__all__ = [
    "NEED_PYARROW",
    "WRITERS",
    "add_member",
    "features",
    "rows_of",
    "write_class_folders",
    "write_dataset",
    "write_dataset_dict",
    "write_stream",
]

Rows = Sequence[Mapping[str, str]]  # with id, image, text and label
Pictures = Mapping[str, bytes]  # by the cell in image


def rows_of(table: Table) -> list[dict[str, str]]:
    """Return all rows of a table, as {column: cell}."""
    rows = []
    for batch in table.batches():
        rows += [dict(zip(batch, cells, strict=True)) for cells in zip(*batch.values(), strict=True)]
    return rows


def _write_files(folder: Path, pictures: Pictures) -> None:
    for name, content in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_csv(folder: Path, rows: Rows, pictures: Pictures, *, name: str = "data.csv", delimiter: str = ",") -> Path:
    _write_files(folder, pictures)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def write_semicolons(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    return write_csv(folder, rows, pictures, delimiter=";")


def write_tsv(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    return write_csv(folder, rows, pictures, name="data.tsv", delimiter="\t")


def write_json_lines(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    _write_files(folder, pictures)
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_xml(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    _write_files(folder, pictures)
    products = [
        "<product>" + "".join(f"<{name}>{escape(cell)}</{name}>" for name, cell in row.items()) + "</product>\n"
        for row in rows
    ]
    path = folder / "products.xml"
    path.write_text(f'<?xml version="1.0"?>\n<products>{"".join(products)}</products>', encoding="utf-8")
    return path


def write_parquet(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _write_files(folder, pictures)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "data.parquet")
    return folder / "data.parquet"


def write_parquet_bytes(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """Pictures as plain bytes, in small row groups."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([{**row, "image": pictures[row["image"]]} for row in rows])
    pq.write_table(table, folder / "bytes.parquet", row_group_size=7)
    return folder / "bytes.parquet"


def write_parquet_struct(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """Pictures as Hugging Face's Image feature, in one row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{**row, "image": {"bytes": pictures[row["image"]], "path": row["image"]}} for row in rows]
    pq.write_table(pa.Table.from_pylist(cells), folder / "struct.parquet")
    return folder / "struct.parquet"


def features(labels: Sequence[str]) -> dict[str, object]:
    """Return what a Hugging Face dataset says of its columns."""
    text = {"dtype": "string", "_type": "Value"}
    return {
        "id": text, "image": {"_type": "Image"}, "text": text, "label": {"names": list(labels), "_type": "ClassLabel"},
    }  # fmt: skip


def write_stream(path: Path, rows: Rows, pictures: Mapping[str, bytes | None], labels: Sequence[str]) -> None:
    """Write an Arrow stream as `save_to_disk` does: pictures as bytes beside their path, classes as numbers."""
    import pyarrow as pa

    columns = {
        "id": pa.array([row["id"] for row in rows]),
        "image": pa.array(
            [{"bytes": pictures[row["image"]], "path": None} for row in rows],
            pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        ),
        "text": pa.array([row["text"] for row in rows]),
        "label": pa.array([labels.index(row["label"]) for row in rows], pa.int64()),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features(labels)}})}
    table = pa.table(columns).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


def write_dataset(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """A dataset in two Arrow files."""
    labels = sorted({row["label"] for row in rows})
    half = len(rows) // 2
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, file_rows in zip(names, (rows[:half], rows[half:]), strict=True):
        write_stream(folder / name, file_rows, pictures, labels)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features(labels)}))
    return folder


def write_dataset_dict(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """A dataset of two splits."""
    half = len(rows) // 2
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for split, split_rows in (("train", rows[:half]), ("test", rows[half:])):
        (folder / split).mkdir()
        write_dataset(folder / split, split_rows, pictures)
    return folder


def add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a regular file to a tar file."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def write_shards(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """Two shards; the picture's name keeps its kind and becomes the product's."""
    half = len(rows) // 2
    for number, shard_rows in enumerate((rows[:half], rows[half:])):
        with tarfile.open(folder / f"shard-{number:03}.tar", "w") as tar:
            for row in shard_rows:
                other_cells = {name: cell for name, cell in row.items() if name not in ("id", "image", "text", "label")}
                add_member(tar, f"{row['id']}{Path(row['image']).suffix}", pictures[row["image"]])
                add_member(tar, f"{row['id']}.txt", row["text"].encode())
                add_member(tar, f"{row['id']}.cls", row["label"].encode())
                add_member(tar, f"{row['id']}.json", json.dumps(other_cells).encode())
    return folder / "shard-{000..001}.tar"


def write_class_folders(folder: Path, rows: Rows, pictures: Pictures) -> Path:
    """The pictures alone."""
    names = {row["image"]: f"{row['label']}/{row['id']}{Path(row['image']).suffix}" for row in rows}
    _write_files(folder, {name: pictures[cell] for cell, name in names.items()})
    return folder


WRITERS: dict[str, Callable[[Path, Rows, Pictures], Path]] = {
    "csv": write_csv,
    "semicolons": write_semicolons,
    "tsv": write_tsv,
    "json lines": write_json_lines,
    "xml": write_xml,
    "parquet": write_parquet,
    "parquet with bytes": write_parquet_bytes,
    "parquet with structs": write_parquet_struct,
    "dataset": write_dataset,
    "dataset dict": write_dataset_dict,
    "shards": write_shards,
    "class folders": write_class_folders,
}
NEED_PYARROW = {name for name in WRITERS if name.startswith(("parquet", "dataset"))}
