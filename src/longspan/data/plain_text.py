"""Tokenises text without special tokens: one that is written in the text (`<s>`, `[SEP]`) is read as letters."""

import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from longspan.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Part of the new names of special tokens; a Unicode noncharacter, which does not occur in text.
_NEVER_TEXT = "\ufdd0"

_readers: "WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, PlainText]]" = WeakKeyDictionary()


class PlainText:
    """Encodes texts with a fast tokenizer, without special tokens around or inside them.

    `split_special_tokens` of transformers is not enough, because a Unigram vocabulary (XLM-R's) contains `<s>` as an
    ordinary entry and finds it in a text. So a text whose encoding contains a special id is encoded again by a copy of
    the tokenizer, whose special tokens have names that occur in no text. Other added tokens are found as before.

    Args:
        backend: a tokenizer of the tokenizers library, without truncation and padding.
        unk_id: its id of the unknown token, which may occur in a text.
    """

    def __init__(self, backend: Any, unk_id: int | None) -> None:
        self._backend = backend
        self._special = {i: token.content for i, token in backend.get_added_tokens_decoder().items() if token.special}
        self._forbidden = self._special.keys() - {unk_id}
        self._unknown = self._special.get(unk_id) if unk_id is not None else None

    def encode_batch(self, texts: Sequence[str]) -> list[Any]:
        """Encode `texts`; returns encodings of the tokenizers library."""
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        if self._special:
            for i, text in enumerate(texts):
                if not self._forbidden.isdisjoint(encodings[i].ids) or (self._unknown and self._unknown in text):
                    encodings[i] = self._copy.encode(text, add_special_tokens=False)
        return encodings

    @cached_property
    def _copy(self) -> Any:
        import tokenizers

        described = json.loads(self._backend.to_str())
        new = {token: f"{_NEVER_TEXT}{i}{_NEVER_TEXT}" for i, token in self._special.items()}
        for token in described["added_tokens"]:
            token["content"] = new.get(token["content"], token["content"])
        model = described["model"]
        if isinstance(model["vocab"], list):
            model["vocab"] = [[new.get(piece, piece), score] for piece, score in model["vocab"]]
        else:
            model["vocab"] = {new.get(piece, piece): i for piece, i in model["vocab"].items()}
        if model.get("unk_token") is not None:
            model["unk_token"] = new.get(model["unk_token"], model["unk_token"])
        if "merges" in model:
            merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
            model["merges"] = [pair for pair in merges if not new.keys() & {*pair, "".join(pair)}]
        described["truncation"] = described["padding"] = None
        return tokenizers.Tokenizer.from_str(json.dumps(described))


def plain_text_of(tokenizer: "PreTrainedTokenizerBase") -> PlainText:
    """Return the `PlainText` of a fast tokenizer; it is cached until the vocabulary grows."""
    n_made, made = _readers.get(tokenizer, (0, None))
    if made is None or n_made != len(tokenizer):
        made = PlainText(getattr(tokenizer, "backend_tokenizer"), unknown_id(tokenizer))  # noqa: B009
        _readers[tokenizer] = (len(tokenizer), made)
    return made


def unknown_id(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The tokenizer's id of the unknown token; None if it has none."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    return unknown if isinstance(unknown, int) else None


def slow_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Encode texts with a slow tokenizer; a special token in a text is split in two parts, which are encoded.

    Raises:
        InputError: the encoding contains a special token nevertheless.
    """
    unknown = unknown_id(tokenizer)
    special = {i: str(token) for i, token in zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)}
    forbidden = special.keys() - {unknown}
    lists = _encode_slow(tokenizer, texts)
    for i, text in enumerate(texts):
        if forbidden.isdisjoint(lists[i]) and not (unknown in special and special[unknown] in text):
            continue
        lists[i] = [id_ for ids in _encode_slow(tokenizer, _cut(text, special.values())) for id_ in ids]
        if left := forbidden & set(lists[i]):
            raise InputError(
                f"the text {text[:80]!r} gets the special token {special[left.pop()]} from {type(tokenizer).__name__}; "
                "convert it to the tokenizers library's format (tokenizer.json), or take the token out of the text"
            )
    return lists


def _encode_slow(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]


def _cut(text: str, special: Iterable[str]) -> list[str]:
    """The parts of `text` when each special token in it is cut behind its first letter."""
    written = re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)))
    ends = [0, *(found.start() + 1 for found in written.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if start < end]
