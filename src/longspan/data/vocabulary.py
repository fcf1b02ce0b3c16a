"""What the pieces of a vocabulary are in text: which stand for none, and where words begin."""

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from longspan.errors import InputError

# How the three kinds of vocabulary mark words. A mark at the beginning of a piece says that a word begins
# (SentencePiece, byte-level BPE) or that one goes on (WordPiece).
_SENTENCEPIECE, _BYTE_LEVEL, _WORDPIECE = "▁", "Ġ", "##"


def special_token_mask(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
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
