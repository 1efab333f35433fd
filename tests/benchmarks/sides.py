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

import numpy as np
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
    from cache.system.cores import count_cores
    from embed.encoders.device import one_core_each
    from embed.extraction.thread_map import completed

    encoder = _image_encoder(device, decode)

    @torch.inference_mode()
    def prepare(path: Path) -> object:
        return encoder.prepare(path.read_bytes())

    def run() -> object:
        n_cores = count_cores()
        with one_core_each() as start_worker:
            return list(completed(prepare, paths, n_workers=n_cores, n_ahead=2 * n_cores, start_worker=start_worker))

    return run


def pictures_forward(paths: Sequence[Path], device: str, decode: str = "exact", **_: Any) -> Run:
    """Run this project's forward passes alone, on tensors already in memory, in the same precision."""
    from embed.encoders.precision import dtype_of

    encoder = _image_encoder(device, decode)
    prepared = [encoder.prepare(path.read_bytes()) for path in paths]  # of exact decoding: tensors
    dtype = dtype_of(encoder.precision)
    inputs = [
        encoder.preprocess.normalise(encoder.preprocess.batch(batch), dtype)
        for batch in _batches(prepared, encoder.batch_size)
    ]
    return _in_pool(encoder, encoder.model, inputs)


class Forward:
    """An encoder whose contents are whole batches, so that its forward passes run as in extraction."""

    def __init__(self, encoder: Any, forward: Callable[[Any], torch.Tensor]) -> None:
        self.name, self.spec = encoder.name, encoder.spec
        self.device, self.n_parallel = encoder.device, encoder.n_parallel
        self.forward = forward

    def prepare(self, content: Any) -> Any:
        """Return the batch as it is."""
        return content

    @torch.inference_mode()
    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        """Return the vectors of the one batch that is there."""
        from embed.encoders.device import to_host
        from embed.encoders.precision import exact_fp32

        (inputs,) = batch
        with exact_fp32():
            return to_host(self.forward(inputs).float()).numpy()


def _in_pool(encoder: Any, forward: Callable[[Any], torch.Tensor], inputs: Sequence[Any]) -> Run:
    from cache.system.cores import count_cores
    from embed.encoders.device import one_core_each
    from embed.extraction.encoding.replica_pool import ReplicaPool
    from embed.extraction.thread_map import completed

    if encoder.device.type == "cuda":
        torch.cuda.synchronize(encoder.device)  # inputs and model were made on another stream than the pool's

    def run() -> object:
        n_cores = count_cores()
        with one_core_each() as start_worker, ReplicaPool([Forward(encoder, forward)], n_callers=n_cores) as pool:
            return list(
                completed(
                    lambda batch: pool.encode([batch]),
                    inputs,
                    n_workers=n_cores,
                    n_ahead=2 * n_cores,
                    start_worker=start_worker,
                )
            )

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
    encoder = _text_encoder(folder, device)
    prepared = [encoder.prepare(text) for text in sorted(texts, key=len, reverse=True)]
    inputs = [
        [batch[number] for number in group]
        for batch in _batches(prepared, encoder.batch_size)
        for group in encoder.pack(batch)
    ]
    encoder.model  # noqa: B018 - it is loaded before the pool begins
    return _in_pool(encoder, lambda texts: encoder.forward(texts)[0], inputs)


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
