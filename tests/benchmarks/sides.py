"""The ways to encode that the benchmark compares, each as a user would write it.

Every side is set up and warmed up before it is timed; then `run` encodes its contents once. Weights are random, of
the same architectures everywhere: ResNet-18 at 224 x 224, and BERT-base cut at 32 tokens.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

__all__ = ["SIDES", "Run"]

Run = Callable[[], object]
BATCH_SIZE = 32
MAX_LENGTH = 32


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _torchvision() -> tuple[nn.Module, Callable[[Image.Image], torch.Tensor]]:
    from torchvision.models import ResNet18_Weights, resnet18

    model = resnet18(weights=None).eval()
    model.fc = nn.Identity()
    return model, ResNet18_Weights.DEFAULT.transforms()


class Pictures(Dataset):
    """Picture files, decoded and transformed."""

    def __init__(self, paths: Sequence[Path], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        with Image.open(self.paths[number]) as image:
            return self.transform(image.convert("RGB"))


def pictures_plain(paths: Sequence[Path], device: str, **_: Any) -> Run:
    """Encode as a tutorial does: open, transform, stack, forward, in one loop."""
    model, transform = _torchvision()
    model = model.to(device)
    pictures = Pictures(paths, transform)

    @torch.no_grad()
    def run() -> object:
        numbers = list(range(len(pictures)))
        return [
            model(torch.stack([pictures[number] for number in batch]).to(device)).cpu().numpy()
            for batch in _batches(numbers, BATCH_SIZE)
        ]

    return run


def _with_loader(model: nn.Module, pictures: Pictures, device: str) -> Run:
    n_workers = min(16, torch.get_num_threads())
    loader = DataLoader(
        pictures, batch_size=BATCH_SIZE, num_workers=n_workers, persistent_workers=True, pin_memory=device != "cpu"
    )
    model = model.to(device)

    @torch.inference_mode()
    def run() -> object:
        return [model(batch.to(device, non_blocking=True)).cpu().numpy() for batch in loader]

    return run


def pictures_torchvision(paths: Sequence[Path], device: str, **_: Any) -> Run:
    """Encode with torchvision's model and recipe behind a DataLoader of a worker a core."""
    model, transform = _torchvision()
    return _with_loader(model, Pictures(paths, transform), device)


def pictures_timm(paths: Sequence[Path], device: str, **_: Any) -> Run:
    """Encode with timm's model and transform behind a DataLoader of a worker a core."""
    import timm

    model = timm.create_model("resnet18.tv_in1k", pretrained=False, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(model)
    return _with_loader(model, Pictures(paths, timm.data.create_transform(**config, is_training=False)), device)


def _image_encoder(device: str, decode: str) -> Any:
    from embed import ImageEncoder

    return ImageEncoder(weights="random", precision="auto", device=device, decode=decode)


def pictures_decode(paths: Sequence[Path], device: str, decode: str = "exact", **_: Any) -> Run:
    """Read, decode and resize alone, on all cores."""
    encoder = _image_encoder(device, decode)
    return _on_cores(lambda path: encoder.prepare(path.read_bytes()), paths, n_parallel=torch.get_num_threads())


def pictures_forward(paths: Sequence[Path], device: str, decode: str = "exact", **_: Any) -> Run:
    """Run this project's forward passes alone, on tensors already in memory, in the same precision."""
    from embed.encoders.device import own_stream
    from embed.encoders.precision import dtype_of

    encoder = _image_encoder(device, decode)
    prepared = [encoder.prepare(path.read_bytes()) for path in paths]  # of exact decoding: tensors
    dtype = dtype_of(encoder.precision)
    inputs = [
        encoder.preprocess.normalise(torch.stack(list(batch)).to(device), dtype)
        for batch in _batches(prepared, encoder.batch_size)
    ]
    model = encoder.model

    def forward(batch: torch.Tensor) -> object:
        with own_stream(encoder.device):
            return model(batch).cpu()

    return _on_cores(forward, inputs, n_parallel=encoder.n_parallel)


def _on_cores(function: Callable[[Any], object], items: Sequence[Any], *, n_parallel: int) -> Run:
    from cache.cores import count_cores
    from embed.encoders.device import one_core_each, several_cores
    from embed.extraction.thread_map import completed

    n_cores = max(1, count_cores() // n_parallel)

    @torch.inference_mode()
    def one(item: Any) -> object:
        with several_cores(n_cores):
            return function(item)

    def run() -> object:
        with one_core_each() as start_worker:
            return list(completed(one, items, n_workers=n_parallel, n_ahead=2 * n_parallel, start_worker=start_worker))

    return run


def pictures_extract(paths: Sequence[Path], device: str, decode: str = "exact", **_: Any) -> Run:
    """Extract with this project: hash, read, decode, encode, publish, seal."""
    return _extract("image", [str(path) for path in paths], _image_encoder(device, decode))


def texts_plain(texts: Sequence[str], folder: Path, device: str, **_: Any) -> Run:
    """Encode as a tutorial does: pad all titles to the maximum length, forward, take [CLS]."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval().to(device)

    @torch.no_grad()
    def run() -> object:
        return [
            model(
                **tokenizer(
                    list(batch), padding="max_length", truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
                ).to(device)
            )
            .last_hidden_state[:, 0]
            .cpu()
            for batch in _batches(texts, BATCH_SIZE)
        ]

    return run


def texts_pipeline(texts: Sequence[str], folder: Path, device: str, **_: Any) -> Run:
    """Encode with transformers' feature-extraction pipeline."""
    import transformers

    pipeline = transformers.pipeline(
        "feature-extraction", model=str(folder), tokenizer=str(folder), batch_size=BATCH_SIZE, device=device,
        tokenize_kwargs={"truncation": True, "max_length": MAX_LENGTH},
    )  # fmt: skip
    return lambda: [states[0][0] for states in pipeline(list(texts))]


def texts_sentence_transformers(texts: Sequence[str], folder: Path, device: str, **_: Any) -> Run:
    """Encode with sentence-transformers' `encode`, which sorts by length."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(str(folder), max_seq_length=MAX_LENGTH)
    pooling = Pooling(words.get_embedding_dimension(), pooling_mode="cls")
    model = SentenceTransformer(modules=[words, pooling], device=device)
    return lambda: model.encode(list(texts), batch_size=BATCH_SIZE, show_progress_bar=False)


def _text_encoder(folder: Path, device: str) -> Any:
    from embed import TextEncoder

    return TextEncoder(str(folder), precision="auto", device=device, max_length=MAX_LENGTH)


def texts_forward(texts: Sequence[str], folder: Path, device: str, **_: Any) -> Run:
    """Run this project's forward passes alone, on token ids already packed in memory, in the same precision."""
    from embed.encoders.device import own_stream

    encoder = _text_encoder(folder, device)
    prepared = [encoder.prepare(text) for text in sorted(texts, key=len, reverse=True)]
    inputs = [
        [batch[number] for number in group]
        for batch in _batches(prepared, encoder.batch_size)
        for group in encoder.pack(batch)
    ]

    def forward(texts: list[list[int]]) -> object:
        with own_stream(encoder.device):
            return encoder.forward(texts)[0].float().cpu()

    encoder.model  # noqa: B018 - it is loaded by one thread
    return _on_cores(forward, inputs, n_parallel=encoder.n_parallel)


def texts_extract(texts: Sequence[str], folder: Path, device: str, **_: Any) -> Run:
    """Extract with this project: hash, tokenize, encode, publish, seal."""
    return _extract("text", texts, _text_encoder(folder, device))


def _extract(modality: str, cells: Sequence[str], encoder: Any) -> Run:
    from embed import ExtractSettings, extract

    settings = ExtractSettings(modalities=(modality,), allow_outside=True)

    def run() -> object:
        with tempfile.TemporaryDirectory() as folder:
            catalogue = Path(folder, "data.csv")
            with catalogue.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["id", modality])
                writer.writerows(enumerate(cells))
            report = extract(catalogue, Path(folder, "cache.h5"), settings=settings, encoders=[encoder])
            assert report.encoders[0].n_encoded == len(cells), report
            return report

    return run


SIDES: dict[str, Callable[..., Run]] = {
    "pictures a plain loop": pictures_plain,
    "pictures b torchvision + DataLoader": pictures_torchvision,
    "pictures b timm + DataLoader": pictures_timm,
    "pictures c forward alone": pictures_forward,
    "pictures d embed-once": pictures_extract,
    "pictures e decoding alone": pictures_decode,
    "texts a plain loop": texts_plain,
    "texts b transformers pipeline": texts_pipeline,
    "texts b sentence-transformers": texts_sentence_transformers,
    "texts c forward alone": texts_forward,
    "texts d embed-once": texts_extract,
}
