"""Scores by length of the document and depth of the answer."""

from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple

from longspan.data.qa import QaDataset, QaExample
from longspan.records import Item, Place
from longspan.tasks.question_answering.thesis import thesis_means

_N_DEPTHS = 5  # of documents as they are: fifths
_SHORTEST = 128  # tokens; shorter documents are one group


class _Where(NamedTuple):
    length: int
    unit: Literal["paragraphs", "tokens"]
    depth: float | None
    slot: int | None


def places_of(dataset: QaDataset, items: Sequence[Item]) -> list[Place]:
    """Group the questions of one system and data set by place, each in exactly one.

    Joined paragraphs: by how many there are and which of them holds the answer. Documents that were made (the needle
    test): by the tokens and the depth they were made with. Others: by tokens of question and document (128 or fewer,
    and powers of two as upper ends) and fifths of the document, by the start of the first gold answer that is in it.

    Args:
        dataset: the questions.
        items: one for each question, in order, of one system.

    Returns:
        By length, then depth; questions without a gold answer in their document last.
    """
    groups: dict[_Where, list[Item]] = {}
    for example, item in zip(dataset.examples, items, strict=True):
        groups.setdefault(_place(example, item), []).append(item)
    places = []
    for where in sorted(groups, key=_order):
        members = groups[where]
        shared = [name for name in members[0].metrics if all(name in item.metrics for item in members)]
        n_tokens = [item.n_tokens for item in members if item.n_tokens is not None]
        places.append(
            Place(
                system=members[0].system,
                dataset=dataset.name,
                language=dataset.language,
                n_items=len(members),
                metrics={name: fmean(item.metrics[name] for item in members) for name in shared}
                | thesis_means(members),
                mean_tokens=fmean(n_tokens) if len(n_tokens) == len(members) else None,
                **where._asdict(),
            )
        )
    return places


def _place(example: QaExample, item: Item) -> _Where:
    if example.nominal_tokens is not None:
        return _Where(example.nominal_tokens, "tokens", example.depth, None)
    if example.slot is not None:
        return _Where(example.n_slots, "paragraphs", (example.slot + 0.5) / example.n_slots, example.slot)
    length, depth = 0, None
    if item.n_tokens is not None:
        length = max(_SHORTEST, 1 << max(item.n_tokens - 1, 0).bit_length())
    if (own := item.extra.get("depth")) is not None:
        depth = (min(int(own * _N_DEPTHS), _N_DEPTHS - 1) + 0.5) / _N_DEPTHS
    return _Where(length, "tokens", depth, None)


def _order(where: _Where) -> tuple[int, bool, float]:
    return where.length, where.depth is None, where.depth or 0.0
