"""Properties of the tokens of a vocabulary: which are special, and which begin a word."""

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from longspan.errors import InputError

# Word marks of the three kinds of vocabulary. A mark at the beginning of a token says that the token begins a word
# (SentencePiece, byte-level BPE) or continues one (WordPiece).
_SENTENCEPIECE, _BYTE_LEVEL, _WORDPIECE = "▁", "Ġ", "##"


def special_token_mask(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
    """True for every id that stands for no text, [V]: `<s>`, `<pad>`, `<mask>`, ids without a token."""
    tokens = _tokens(tokenizer)
    special = set(tokenizer.all_special_ids)
    return np.array([token is None or i in special for i, token in enumerate(tokens)])


def word_starts(tokenizer: PreTrainedTokenizerBase) -> NDArray[np.bool_]:
    """True for every token that begins a word, [V].

    Raises:
        InputError: the vocabulary does not mark words in a known way.
    """
    tokens = _tokens(tokenizer)
    mark = _word_mark(tokens)
    if mark is None:
        raise InputError(
            f"the tokens of {tokenizer.name_or_path or 'this tokenizer'} do not show where words begin (no "
            f"{_SENTENCEPIECE}, {_BYTE_LEVEL} or {_WORDPIECE}); mask tokens instead: whole_words: false"
        )
    begins = [token is not None and token.startswith((mark, "Ċ")) for token in tokens]
    if mark == _WORDPIECE:
        begins = [token is None or not token.startswith(mark) for token in tokens]
    return np.array(begins)


def _tokens(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """The token of every id; None for ids without a token."""
    vocabulary = tokenizer.get_vocab()
    tokens: list[str | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    for token, i in vocabulary.items():
        tokens[i] = token
    return tokens


def _word_mark(tokens: list[str | None]) -> str | None:
    """The word mark that most tokens begin with; None if no token has one."""
    n_of_mark = {
        mark: sum(token is not None and token.startswith(mark) for token in tokens)
        for mark in (_SENTENCEPIECE, _BYTE_LEVEL, _WORDPIECE)
    }
    mark = max(n_of_mark, key=n_of_mark.__getitem__)
    return mark if n_of_mark[mark] else None
