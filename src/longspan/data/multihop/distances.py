"""How far apart the supporting facts of a question stand."""

from collections.abc import Sequence
from typing import NamedTuple

from longspan.data.multihop.examples import MultihopExample


class FactDistance(NamedTuple):
    """Distance between the first and the last supporting sentence of a document.

    Attributes:
        n_characters: from the end of the first to the start of the last; 0 if there is one sentence only.
        n_characters_needed: from the start of the first to the end of the last: what a window must hold to see both.
        n_tokens: as `n_characters`, in tokens; None if no tokens were given.
        n_tokens_needed: as `n_characters_needed`, in tokens; None if no tokens were given.
    """

    n_characters: int
    n_characters_needed: int
    n_tokens: int | None = None
    n_tokens_needed: int | None = None


def fact_distance(example: MultihopExample, offsets: Sequence[tuple[int, int]] | None = None) -> FactDistance | None:
    """How far apart the first and the last supporting sentence of an example stand.

    Supporting facts that name no sentence, and sentences without text, do not count. For MuSiQue, whose facts are
    paragraphs, it is the distance of paragraphs.

    Args:
        example: the question.
        offsets: start and end of each token in `example.document`, as a fast tokenizer's `return_offsets_mapping`
            gives them for the document alone. A token that lies half in a sentence belongs to it. Tokens without
            characters, such as special tokens, do not count.

    Returns:
        The distances, or None if the example has no supporting sentence.
    """
    spans = [span for span in map(example.sentence_span, example.supporting_facts) if span.start < span.end]
    if not spans:
        return None
    first, last = min(spans), max(spans)
    begin, end = first.start, max(span.end for span in spans)
    gap_begin, gap_end = first.end, max(first.end, last.start)
    if offsets is None:
        return FactDistance(gap_end - gap_begin, end - begin)
    tokens = [(start, stop) for start, stop in offsets if start < stop]
    n_between = sum(gap_begin <= start and stop <= gap_end for start, stop in tokens)
    n_needed = sum(start < end and stop > begin for start, stop in tokens)
    return FactDistance(gap_end - gap_begin, end - begin, n_between if len(spans) > 1 else 0, n_needed)
