"""Words -> a text with spaces where writers put them, and a text -> words."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import regex

from longspan.data.coreference.documents import Span

# Punctuation that follows a word without a space, and the second half of words that corpora cut in two.
_TIED_TO_WORD_BEFORE = regex.compile(
    r"[.,;:!?…%)\]}»”’、。，；：！？）】》」』]+|\.\.+|''|['’](?:s|S|d|D|m|M|ll|LL|re|RE|ve|VE)|n['’]t|N['’]T|-RRB-|-RSB-|-RCB-"
)
_TIED_TO_WORD_AFTER = regex.compile(r"[(\[{«“‘（【《「『]+|``|-LRB-|-LSB-|-LCB-")
# Chinese and Japanese have no spaces between words.
_WITHOUT_SPACES = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}、。，；：！？（）【】《》「」『』]")
_WORD = regex.compile(r"\w+|[^\w\s]")


def join_words(words: Iterable[str]) -> tuple[str, tuple[Span, ...]]:
    """The text of words, and the characters of each word in it.

    There is one space between two words, but none before closing punctuation and endings such as `'s` and `n't`, none
    after opening brackets and quotes, and none between Chinese or Japanese words. Marks that may open or close, such
    as `"`, `'` and dashes, keep a space on both sides: a wrong guess would tie them to the wrong word. The words stay
    as the corpus writes them, also where it writes `-LRB-` for a bracket or two backquotes for a quotation mark.

    Args:
        words: none is empty.

    Returns:
        The text, and (start, end) of each word, so that `text[start:end]` is the word.
    """
    parts: list[str] = []
    spans: list[Span] = []
    length = 0
    before = ""
    for word in words:
        if before and not _are_tied(before, word):
            parts.append(" ")
            length += 1
        parts.append(word)
        spans.append((length, length + len(word)))
        length += len(word)
        before = word
    return "".join(parts), tuple(spans)


def _are_tied(before: str, word: str) -> bool:
    if word.isspace() or before.isspace():
        return True
    if _TIED_TO_WORD_BEFORE.fullmatch(word) or _TIED_TO_WORD_AFTER.fullmatch(before):
        return True
    return bool(_WITHOUT_SPACES.match(word) and _WITHOUT_SPACES.match(before[-1]))


def split_words(text: str) -> tuple[Span, ...]:
    """The characters of each word of a text whose corpus gives no words.

    A word is a run of letters, digits and underscores, or one other character that is not white space.
    """
    return tuple(found.span() for found in _WORD.finditer(text))


def tokens_of_characters(span: Span, tokens: Sequence[Span]) -> Span | None:
    """The tokens that a span of characters touches; None if it touches none.

    Args:
        span: start and end, counted in characters.
        tokens: the characters of each token, in order.
    """
    first = bisect_right(tokens, span[0], key=lambda token: token[1])
    last = bisect_left(tokens, span[1], key=lambda token: token[0])
    return (first, last) if first < last else None
