"""multilingual-e5-small from a 4-bit file into an ordinary transformers folder.

The 4-bit file (little-endian, no padding but what the offsets say):

    "E5S1" | u32 version | i32 hidden, layers, heads, feed-forward, vocabulary, positions, token types
           | f32 layer-norm epsilon | i32 block
    i32 pieces, <s>, </s>, <pad>, <unk> | u64 bytes | u32 offsets[pieces + 1] | f32 scores[pieces] | UTF-8 pieces
    i32 rows, u32 bytes | the normaliser's character map, which is NFKC but for what `NORMALISER` spells out
    i32 tensors | each: u16 length, name, u8 type (0 f32, 1 4-bit), u32 count, u64 offset, u64 bytes

A 4-bit block is 32 weights: one float16 scale d and 16 bytes; byte j holds weight j in its low and weight j + 16 in its
high nibble, and a weight is (nibble − 8)·d.

The result depends on nothing but the file: the same bytes on every machine, so that one sha256 is pinned, and a head
trained on these embeddings knows them again by their fingerprint.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .types import ModelError

RAW = "e5-small-q4.bin"
MAGIC = b"E5S1"
BLOCK = 32  # weights that share a scale
FLOAT32, FOUR_BIT = 0, 1

TENSORS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER_TENSORS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
PROMPTS = {
    "query": "query: ",
    "passage": "passage: ",
}  # the model was trained with one of them before every text
LEAF = {"w": "weight", "b": "bias"}

WAVE_DASH_GUARD = "\ue000"  # NFKC would make ～ a ~; the vocabulary has its own piece for ～
CONTROLS = r"[\x01-\x08\x0b\x0e-\x1f\x7f\x{8f}\x{9f}]"
BLANKS = r"[\t\n\x0c\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
NORMALISER = [
    {"type": "Replace", "pattern": {"Regex": CONTROLS}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": BLANKS}, "content": " "},
    {"type": "Replace", "pattern": {"String": "～"}, "content": WAVE_DASH_GUARD},
    {"type": "NFKC"},
    {"type": "Replace", "pattern": {"String": WAVE_DASH_GUARD}, "content": "～"},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
]


def convert(raw: Path, folder: Path) -> None:
    """Write a model folder (configuration, tokenizer, pooling, prompts, weights) from `raw`/e5-small-q4.bin."""
    data = memoryview((raw / RAW).read_bytes())
    read = _Reader(data)
    if read.bytes(4) != MAGIC:
        raise ModelError(f"{RAW} is no 4-bit e5 file", "Report this: the pinned file has changed its format.")
    read.unpack("<I")
    hidden, layers, heads, forward, vocabulary, positions, types = read.unpack("<7i")
    epsilon, block = read.unpack("<fi")
    if block != BLOCK:
        raise ModelError(
            f"{RAW} has blocks of {block} weights, not {BLOCK}",
            "Report this: the pinned file has changed its format.",
        )
    count, bos, eos, pad, unknown = read.unpack("<5i")
    pieces = _pieces(read, count)
    read.unpack("<i")
    read.bytes(read.unpack("<I")[0])
    _write(
        folder / "config.json",
        {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": forward,
            "hidden_act": "gelu",
            "vocab_size": vocabulary,
            "max_position_embeddings": positions,
            "type_vocab_size": types,
            "layer_norm_eps": round(epsilon, 15),
            "pad_token_id": pad,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "dtype": "float16",
        },
    )
    _write(folder / "tokenizer.json", tokenizer(pieces, unknown))
    _write(folder / "tokenizer_config.json", _tokenizer_config(positions))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": hidden, "pooling_mode_mean_tokens": True},
    )
    _write(folder / "config_sentence_transformers.json", {"prompts": PROMPTS, "default_prompt_name": "query"})
    write_safetensors(folder / "model.safetensors", _tensors(read, data, hidden, forward, layers))


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def bytes(self, count: int) -> bytes:
        self.at += count
        return bytes(self.data[self.at - count : self.at])

    def unpack(self, shape: str) -> tuple[Any, ...]:
        return struct.unpack(shape, self.bytes(struct.calcsize(shape)))


def _pieces(read: _Reader, count: int) -> list[tuple[str, float]]:
    """The unigram vocabulary: pieces with their log probability, in order of their ids."""
    length = read.unpack("<Q")[0]
    offsets = np.frombuffer(read.bytes(4 * (count + 1)), "<u4")
    scores = np.frombuffer(read.bytes(4 * count), "<f4")
    text = read.bytes(length)
    spans = pairwise(offsets)
    return [(text[a:b].decode(), float(s)) for (a, b), s in zip(spans, scores, strict=True)]


def tokenizer(pieces: list[tuple[str, float]], unknown: int) -> dict[str, Any]:
    """The XLM-RoBERTa tokenizer in the format of the `tokenizers` library: unigram over Metaspace words."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    special = [
        {
            "id": ids[t],
            "content": t,
            "single_word": False,
            "lstrip": t == "<mask>",
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ]
    around = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in ("<s>", "</s>")}

    def token(name: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    def sequence(name: str) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": 0}}

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": NORMALISER},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("<s>"), sequence("A"), token("</s>")],
            "pair": [token("<s>"), sequence("A"), token("</s>"), token("</s>"), sequence("B"), token("</s>")],
            "special_tokens": around,
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": False},
    }


def _tokenizer_config(positions: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": positions,
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _tensors(
    read: _Reader, data: memoryview, hidden: int, forward: int, layers: int
) -> dict[str, np.ndarray]:
    """Every tensor by its transformers name: matrices as float16, norms and biases as float32."""
    names = dict(TENSORS)
    for i in range(layers):
        for short, long in LAYER_TENSORS.items():
            names |= {f"l{i}.{short}.{leaf}": f"encoder.layer.{i}.{long}.{LEAF[leaf]}" for leaf in LEAF}
    found: dict[str, np.ndarray] = {}
    for _ in range(read.unpack("<i")[0]):
        name = read.bytes(read.unpack("<H")[0]).decode()
        kind, count, offset, size = read.unpack("<BIQQ")
        block = data[offset : offset + size]
        flat = np.frombuffer(block, "<f4", count) if kind == FLOAT32 else four_bit(block).astype("<f2")
        one_dimensional = name.endswith((".b", "ln.w"))
        columns = forward if name.endswith(".fo.w") else hidden
        found[names[name]] = flat if one_dimensional else flat.reshape(-1, columns)
    if missing := sorted(set(names.values()) - set(found)):
        raise ModelError(f"{RAW} lacks {missing[0]}", "Report this: the pinned file has changed its format.")
    return found


def four_bit(block: memoryview | bytes) -> np.ndarray:
    """Weights of 4-bit blocks.  # (weights,) float32"""
    blocks = np.frombuffer(block, np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)]))
    low, high = blocks["nibbles"] & 0x0F, blocks["nibbles"] >> 4
    steps = np.concatenate([low, high], axis=1).astype(np.float32) - 8  # (blocks, 32)
    return (steps * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """The safetensors format: u64 length of a JSON header, the header, the data. Same tensors, same bytes."""
    kinds = {"<f2": "F16", "<f4": "F32"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {
            "dtype": kinds[tensor.dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in sorted(tensors):
            file.write(np.ascontiguousarray(tensors[name]).tobytes())


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
