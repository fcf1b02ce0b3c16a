"""Wraps a tokenizer for corpora: encodes texts to ids and character counts in any process, with a fingerprint."""

import gc
import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from longspan.data.corpora.parts import n_added, split
from longspan.data.plain_text import PlainText, slow_ids, unknown_id
from longspan.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_CHARACTERS = np.iinfo(np.uint16).max


class Encoded(NamedTuple):
    """The tokens of several texts, concatenated.

    Attributes:
        ids: int32 [tokens].
        n_characters: uint16 [tokens], number of characters of the text per token, from the token's start to the start
            of the next, so that every character is counted exactly once.
        n_tokens: int64 [texts], number of tokens per text.
    """

    ids: NDArray[np.int32]
    n_characters: NDArray[np.uint16]
    n_tokens: NDArray[np.int64]


class Frame(NamedTuple):
    """The special tokens that frame a text, the separator between documents (None: there is none), and padding."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    separator: int | None
    pad: int


class Encoder:
    """A tokenizer without truncation and padding that reads special tokens as text. It can be pickled.

    Characters are assigned to tokens in one of three ways. A byte-level vocabulary shows how many characters begin in
    each token, which is the fastest way; a character of several tokens counts for the first. Other fast tokenizers give
    the offsets of tokens. With a slow tokenizer, the characters of a text are spread evenly over its tokens.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        if tokenizer.is_fast:
            self._loaded: Any = _without_truncation(tokenizer.backend_tokenizer)
            self._fast: str | None = self._loaded.to_str()
            self._slow: bytes | None = None
        else:
            self._loaded = None
            self._fast, self._slow = None, pickle.dumps(tokenizer)
        self._unknown = unknown_id(tokenizer)
        self.fingerprint = _fingerprint(tokenizer, self._fast)

    def __getstate__(self) -> dict[str, Any]:
        made = ("_begun", "_plain")
        return {key: value for key, value in self.__dict__.items() if key not in made} | {"_loaded": None}

    @property
    def is_fast(self) -> bool:
        """Whether it is a tokenizer of the tokenizers library, which several threads may use."""
        return self._fast is not None

    @property
    def _tokenizer(self) -> Any:
        if self._loaded is None:
            if self._fast is not None:
                import tokenizers

                self._loaded = tokenizers.Tokenizer.from_str(self._fast)
            else:
                assert self._slow is not None
                self._loaded = pickle.loads(self._slow)
        return self._loaded

    @cached_property
    def _plain(self) -> PlainText:
        return PlainText(self._tokenizer, self._unknown)

    @cached_property
    def _begun(self) -> NDArray[np.int64] | None:
        """int64 [vocabulary]: characters that begin in each token; None if tokens are not bytes of the text."""
        if self._fast is None or not _is_byte_level(json.loads(self._fast)):
            return None
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        # The continuation bytes of UTF-8.
        inner = {letter for byte, letter in bytes_to_unicode().items() if 0x80 <= byte < 0xC0}
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        begun = np.zeros(max(vocabulary.values()) + 1, np.int64)
        for token, i in vocabulary.items():
            begun[i] = sum(letter not in inner for letter in token)
        return begun

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""
        if self._fast is None:
            return slow_ids(self._tokenizer, texts)
        return [encoding.ids for encoding in self._plain.encode_batch(texts)]

    def encode(self, texts: list[str], skipped: list[int]) -> Encoded:
        """Encode texts without the first `skipped` tokens of each, whose characters go to the first remaining token."""
        if self._fast is None:
            lists = self.ids(texts)
            starts = [
                np.linspace(0, len(text), len(ids), endpoint=False, dtype=np.int64)
                for text, ids in zip(texts, lists, strict=True)
            ]
        else:
            found = self._in_parts(texts)
            lists, starts = [some.ids for some in found], [some.starts for some in found]
        n_characters = [_tile(some, n, len(text)) for some, n, text in zip(starts, skipped, texts, strict=True)]
        n_tokens = np.array([len(some) for some in n_characters], np.int64)
        kept = chain.from_iterable(ids[n:] if n else ids for ids, n in zip(lists, skipped, strict=True))
        ids = np.fromiter(kept, np.int32, int(n_tokens.sum()))
        return Encoded(ids, np.concatenate([np.zeros(0, np.uint16), *n_characters]), n_tokens)

    def _in_parts(self, texts: list[str]) -> list["_Tokens"]:
        """Tokenise each text in parts, or as a whole if the tokens would differ."""
        cut = [split(text) for text in texts]
        asked = [text for parts, windows in cut for text in (*parts, *windows)]
        found = iter(self._plain.encode_batch(asked))
        result = []
        for text, (parts, windows) in zip(texts, cut, strict=True):
            tokens = [self._tokens(part, next(found)) for part in parts]
            joined = _join(parts, tokens, [next(found).ids for _ in windows])
            if joined is None:
                joined = self._tokens(text, self._plain.encode_batch([text])[0])
            result.append(joined)
        return result

    def _tokens(self, text: str, encoding: Any) -> "_Tokens":
        ids = encoding.ids
        if self._begun is not None:
            ends = np.cumsum(self._begun[np.array(ids, np.int64)])
            # The sum differs if an added token stands for other characters than those of its name.
            if len(ends) and ends[-1] == len(text):
                return _Tokens(ids, np.concatenate([np.zeros(1, np.int64), ends[:-1]]))
        return _Tokens(ids, _starts(encoding.offsets))


class _Tokens(NamedTuple):
    """A text's tokens and the offsets of their first characters."""

    ids: list[int]
    starts: NDArray[np.int64]


def _join(parts: list[str], tokens: list[_Tokens], windows: list[list[int]]) -> _Tokens | None:
    """Join the tokens of parts; None if they are not the tokens of the whole text."""
    if len(parts) == 1:
        return tokens[0]
    ids, starts = list(tokens[0].ids), [tokens[0].starts]
    end = len(parts[0])
    for part, (before, _), (after, places), window in zip(parts[1:], tokens, tokens[1:], windows, strict=False):
        skipped = n_added(before, after, window)
        if skipped is None:
            return None
        ids += after[skipped:]
        starts.append(places[skipped:] + end)
        end += len(part)
    return _Tokens(ids, np.concatenate(starts))


def _is_byte_level(description: dict[str, Any]) -> bool:
    """Whether a tokenizer, described by its JSON, splits the unchanged bytes of a text into tokens."""
    first = description["pre_tokenizer"] or {}
    steps = first.get("pretokenizers", [first])
    is_bytes = any(step.get("type") == "ByteLevel" for step in steps)
    adds = any(step.get("add_prefix_space") or step.get("prepend_scheme", "never") != "never" for step in steps)
    return is_bytes and not adds and description["normalizer"] is None and description["model"]["type"] == "BPE"


def _without_truncation(backend: Any) -> Any:
    """Return the tokenizer if it neither truncates nor pads, else a copy that does not (a copy may take 270 MB)."""
    if backend.truncation is None and backend.padding is None:
        return backend
    import tokenizers

    copy = tokenizers.Tokenizer.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _starts(offsets: list[tuple[int, int]]) -> NDArray[np.int64]:
    starts = np.fromiter(map(itemgetter(0), offsets), np.int64, len(offsets))
    return np.maximum.accumulate(starts) if len(starts) else starts


def _tile(starts: NDArray[np.int64], n_skipped: int, n_characters: int) -> NDArray[np.uint16]:
    """Number of characters from each token's start (0 for the first) to the start of the next."""
    starts = starts[n_skipped:].copy()
    starts[:1] = 0
    counts = np.diff(starts, append=n_characters) if len(starts) else starts
    return np.minimum(counts, _MOST_CHARACTERS).astype(np.uint16)


def find_frame(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Find the special tokens that the tokenizer puts around a text, by tokenising one.

    Raises:
        InputError: the tokenizer has neither a padding token nor an end-of-text token, or special tokens change the
            tokens of the text.
    """
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    framed = list(tokenizer("a")["input_ids"])
    places = (i for i in range(len(framed) - len(bare) + 1) if framed[i : i + len(bare)] == bare)
    at = next(places, None)
    if at is None:
        raise InputError("the tokenizer's special tokens change the tokens of the text; use another tokenizer")
    separator = next((i for i in (tokenizer.sep_token_id, tokenizer.eos_token_id) if isinstance(i, int)), None)
    pad = next((i for i in (tokenizer.pad_token_id, separator) if isinstance(i, int)), None)
    if pad is None:
        raise InputError("the tokenizer has no padding token: set tokenizer.pad_token before making blocks")
    return Frame(tuple(framed[:at]), tuple(framed[at + len(bare) :]), separator, pad)


def _fingerprint(tokenizer: "PreTrainedTokenizerBase", fast: str | None) -> str:
    """SHA-256 of everything that determines the tokens of a text."""
    if fast is not None:
        description = fast
    else:
        own = {key: repr(value) for key, value in tokenizer.init_kwargs.items() if "file" not in key}
        description = json.dumps([type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), sorted(own.items())])
    return hashlib.sha256(description.encode()).hexdigest()


@contextmanager
def one_thread_without_garbage() -> Iterator[None]:
    """Tokenise in one thread and without garbage collection.

    The lists of offsets have millions of small tuples without cycles; collecting takes longer than making them.
    """
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    was_enabled = gc.isenabled()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.disable()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
        if was_enabled:
            gc.enable()
