"""Small Hugging Face vision models and models with two towers, saved as a user's folder would hold them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tokenizers
import torch
import transformers as hf

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WORDS = ["blue", "red", "shirt", "shoes", "cotton", "a", *(f"word{n}" for n in range(40))]
SIZE = 32
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": SIZE, "patch_size": 8}
MLP = {**VIT, "intermediate_size": 64}
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SQUARE = {"size": {"height": SIZE, "width": SIZE}}
CROPPED = {"size": {"shortest_edge": SIZE + 8}, "crop_size": {"height": SIZE, "width": SIZE}}
STAGES = {"hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 2, 1]}

# name -> (config, image processor)
VISION = {
    "convnextv2": lambda: (hf.ConvNextV2Config(**STAGES), hf.ConvNextImageProcessor(size={"shortest_edge": SIZE})),
    "resnet": lambda: (
        hf.ResNetConfig(embedding_size=8, layer_type="basic", **STAGES),
        hf.ConvNextImageProcessor(size={"shortest_edge": SIZE}, crop_pct=0.875),
    ),
    "segformer": lambda: (
        hf.SegformerConfig(hidden_sizes=[32, 40, 48, 56], depths=[1, 1, 1, 1], num_attention_heads=[1, 2, 2, 4]),
        hf.SegformerImageProcessor(**SQUARE),
    ),
    "swin": lambda: (
        hf.SwinConfig(image_size=SIZE, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4),
        hf.ViTImageProcessor(**SQUARE),
    ),
    "vit": lambda: (hf.ViTConfig(**MLP), hf.ViTImageProcessor(**SQUARE)),
    "vit normalised twice": lambda: (hf.ViTConfig(**MLP), hf.EfficientNetImageProcessor(**SQUARE)),
    "vit_mae": lambda: (hf.ViTMAEConfig(**MLP), hf.ViTImageProcessor(**SQUARE)),
    "dinov2": lambda: (hf.Dinov2Config(**{**VIT, "mlp_ratio": 2}), hf.BitImageProcessor(**CROPPED)),
    "clip_vision": lambda: (hf.CLIPVisionConfig(**MLP), hf.CLIPImageProcessor(**CROPPED)),
    "siglip_vision": lambda: (hf.SiglipVisionConfig(**MLP), hf.SiglipImageProcessor(**SQUARE)),
}


def write_vision(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Save a small vision model and its processor; return the folder."""
    config, processor = VISION[kind]()
    _draw(config, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_two_towers(folder: Path, kind: str, *, seed: int = 0) -> Path:
    """Save a small clip, clip with an old config, siglip, siglip2 or chinese_clip; return the folder."""
    tokenizer = _tokenizer(kind)
    text = {**TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 24}
    eos = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    eos["pad_token_id"] = tokenizer.pad_token_id
    if kind == "clip of old":
        eos["eos_token_id"] = 2  # so it stands in the first CLIPs; the end is where the id is highest
    if kind.startswith("clip"):
        config = hf.CLIPConfig(text_config={**text, **eos}, vision_config=MLP, projection_dim=16)
        processor = hf.CLIPProcessor(hf.CLIPImageProcessor(**CROPPED), tokenizer)
    elif kind == "siglip":
        config = hf.SiglipConfig(text_config={**text, **eos}, vision_config=MLP)
        processor = hf.SiglipProcessor(hf.SiglipImageProcessor(**SQUARE), tokenizer)
    elif kind == "siglip2":
        vision = {**TEXT, "num_patches": 16, "patch_size": 8}
        config = hf.Siglip2Config(text_config={**text, **eos}, vision_config=vision)
        processor = hf.Siglip2Processor(hf.Siglip2ImageProcessor(patch_size=8, max_num_patches=16), tokenizer)
    else:
        config = hf.ChineseCLIPConfig(text_config=text, vision_config=MLP, projection_dim=16)
        processor = hf.ChineseCLIPProcessor(hf.ChineseCLIPImageProcessor(**CROPPED), tokenizer)
    _draw(config, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def sentence_model(folder: Path, *, seed: int = 0) -> SentenceTransformer:
    """Return a small BERT with a mean pooling and two prompts, as sentence-transformers has it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    tokenizer = _word_tokenizer(has_mask=True)
    _draw(hf.BertConfig(**TEXT, vocab_size=len(tokenizer)), seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modules = [Transformer(str(folder)), Pooling(TEXT["hidden_size"])]
    return SentenceTransformer(modules=modules, device="cpu", prompts={"query": "red ", "shout": "blue "})


def _draw(config: hf.PretrainedConfig, seed: int) -> torch.nn.Module:
    """Return a network with weights as large as a training would leave them, batch statistics included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = hf.AutoModel.from_config(config)
        with torch.no_grad():
            for name, values in model.state_dict().items():
                if values.is_floating_point():
                    if name.endswith("running_var"):
                        values.uniform_(0.5, 1.5)
                    elif values.ndim < 2:
                        values.add_(torch.randn_like(values) * 0.1)
                    else:
                        values.normal_(0, 1.5 / values[0].numel() ** 0.5)
    return model


def _tokenizer(kind: str) -> hf.PreTrainedTokenizerBase:
    if kind not in ("clip", "clip of old", "siglip2"):
        return _word_tokenizer(has_mask=kind == "chinese_clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(digit) for digit in range(10)]
    if kind == "siglip2":
        tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *letters, "▁"]
        vocabulary = {token: number for number, token in enumerate(tokens)}
        return hf.Siglip2Tokenizer(vocab=vocabulary, merges=[], padding_side="right", model_input_names=["input_ids"])
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return hf.CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[])


def _word_tokenizer(*, has_mask: bool) -> hf.PreTrainedTokenizerBase:
    """A tokenizer such as SigLIP's, which ends a text and gives no mask, or such as BERT's."""
    tokens = ["<pad>", "<unk>", "</s>", "<s>", *WORDS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, tokens[1]))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    single = "<s> $A </s>" if has_mask else "$A </s>"
    core.post_processor = tokenizers.processors.TemplateProcessing(single, special_tokens=[("<s>", 3), ("</s>", 2)])
    special = dict(zip(("pad_token", "unk_token", "eos_token", "bos_token"), tokens, strict=False))
    names = ["input_ids", "attention_mask"] if has_mask else ["input_ids"]
    return hf.PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=names, **special)
