"""What the pieces of a vocabulary are in text: where words begin, how many characters each stands for."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from longspan.errors import InputError

# How the three kinds of vocabulary mark words. A mark at the beginning of a piece says that a word begins
# (SentencePiece, byte-level BPE) or that one goes on (WordPiece).
_SENTENCEPIECE, _BYTE_LEVEL, _WORDPIECE = "▁", "Ġ", "##"


def special_pieces(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
    """True for every id that stands for no text, [V]: `<s>`, `<pad>`, `<mask>`, ids without a piece."""
    pieces = _pieces(tokenizer)
    special = set(tokenizer.all_special_ids)
    return np.array([piece is None or place in special for place, piece in enumerate(pieces)])


def word_starts(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
    """True for every piece that begins a word, [V].

    Raises:
        InputError: the vocabulary marks words in no way that is known.
    """
    pieces = _pieces(tokenizer)
    mark = _mark_of(pieces)
    if mark is None:
        raise InputError(
            f"the pieces of {tokenizer.name_or_path or 'this tokenizer'} do not say where words begin (no "
            f"{_SENTENCEPIECE}, {_BYTE_LEVEL} or {_WORDPIECE}); mask tokens instead: whole_words: false"
        )
    begins = [piece is not None and piece.startswith((mark, "Ċ")) for piece in pieces]
    if mark == _WORDPIECE:
        begins = [piece is None or not piece.startswith(mark) for piece in pieces]
    return np.array(begins)


def character_counts(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int32]:
    """Characters of text that each piece stands for, [V]; the space before a word counts, special pieces are 0.

    A byte of a byte-level vocabulary counts where a character begins in it, so that the sum over a text is its length
    (less what the tokenizer's normaliser drops). An unknown piece counts as one character.
    """
    pieces = _pieces(tokenizer)
    is_special = special_pieces(tokenizer)
    mark = _mark_of(pieces)
    counts = np.zeros(len(pieces), dtype=np.int32)
    byte_of = _byte_level_alphabet() if mark == _BYTE_LEVEL else {}
    for place, piece in enumerate(pieces):
        if piece is None or (is_special[place] and place != tokenizer.unk_token_id):
            continue
        if place == tokenizer.unk_token_id:
            counts[place] = 1
        elif mark == _BYTE_LEVEL:
            # Bytes 10xxxxxx go on with a character.
            counts[place] = sum((byte_of.get(character, 0) & 0xC0) != 0x80 for character in piece)
        elif mark == _WORDPIECE:
            # A word that begins follows a space.
            counts[place] = len(piece) - 2 if piece.startswith(_WORDPIECE) else len(piece) + 1
        elif len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            counts[place] = (int(piece[3:5], 16) & 0xC0) != 0x80
        else:
            counts[place] = len(piece)
    return counts


def _pieces(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """The piece of every id, None where there is none."""
    vocabulary = tokenizer.get_vocab()
    pieces: list[str | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    for piece, place in vocabulary.items():
        pieces[place] = piece
    return pieces


def _mark_of(pieces: list[str | None]) -> str | None:
    n_of_mark = {
        mark: sum(piece is not None and piece.startswith(mark) for piece in pieces)
        for mark in (_SENTENCEPIECE, _BYTE_LEVEL, _WORDPIECE)
    }
    mark = max(n_of_mark, key=n_of_mark.__getitem__)
    return mark if n_of_mark[mark] else None


def _byte_level_alphabet() -> dict[str, int]:
    """The character by which byte-level vocabularies write each byte (GPT-2's table) -> the byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """A short hash of everything that decides which ids a text becomes."""
    import hashlib

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    described = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    if isinstance(described, dict):
        # How much is cut or padded is not the tokenizer's matter here.
        described = {name: part for name, part in described.items() if name not in ("truncation", "padding")}
    text = json.dumps([described, sorted(tokenizer.all_special_ids)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
