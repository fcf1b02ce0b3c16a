"""What a system reads of each document: its windows, and whether a gold answer is in one of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from longspan.data.qa import GoldAnswer, QaDataset, QaExample, make_qa_features
from longspan.tasks.question_answering.predictor import QaPredictor

_CHUNK = 256  # documents tokenised at a time


class Reading(NamedTuple):
    """What a system reads of one question's document."""

    n_tokens: int  # question and whole document
    spans: list[tuple[int, int]]  # characters from the first to the last token of each window that is read


def readings_of(predictor: Any, dataset: QaDataset, known: dict[Any, list[Reading]]) -> list[Reading]:
    """What `predictor` reads of each document; nothing is known of predictors that are not `QaPredictor`s."""
    if not isinstance(predictor, QaPredictor):
        return []
    key = (id(predictor.tokenizer), predictor.max_length, predictor.overlap)
    if key not in known:
        known[key] = _windows_of(predictor, dataset)
    if not predictor.truncate:
        return known[key]
    return [reading._replace(spans=reading.spans[:1]) for reading in known[key]]


def _windows_of(predictor: QaPredictor, dataset: QaDataset) -> list[Reading]:
    readings = [Reading(0, []) for _ in dataset.examples]
    whole = [i for i, e in enumerate(dataset.examples) if e.question.strip() and e.context.strip()]
    # Some at a time: the tokens of a whole corpus of long documents are never in memory together.
    for first in range(0, len(whole), _CHUNK):
        chunk = whole[first : first + _CHUNK]
        features = make_qa_features(
            [dataset.examples[i] for i in chunk],
            predictor.tokenizer,
            max_length=predictor.max_length,
            overlap=predictor.overlap,
            with_labels=False,
        )
        for feature in features:
            i = chunk[feature.example_index]
            offsets = [offset for offset in feature.offsets if offset is not None]
            if not readings[i].spans:
                readings[i] = Reading(len(feature.offsets) - len(offsets), [])
            # Overlapping tokens stand in two windows; they are counted in the first.
            end_before = readings[i].spans[-1][1] if readings[i].spans else -1
            n_new = sum(offset[1] > end_before for offset in offsets)
            span = (offsets[0][0], offsets[-1][1]) if offsets else (0, 0)
            readings[i] = Reading(readings[i].n_tokens + n_new, [*readings[i].spans, span])
    return readings


def has_lost_its_gold(example: QaExample) -> bool:
    """Whether it has gold answers, and none of them stands in its document."""
    return bool(example.answers) and all(answer.start is None for answer in example.answers)


def is_read(example: QaExample, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one window that is read holds one of the gold answers whole; unlocatable ones are counted apart."""
    placed = [characters for answer in example.answers if (characters := characters_of(answer)) is not None]
    return not placed or any(first <= start and end <= last for start, end in placed for first, last in spans)


def characters_of(answer: GoldAnswer) -> tuple[int, int] | None:
    """Where a gold answer stands in its document, blanks around it left out; None where it does not."""
    if answer.start is None:
        return None
    text = answer.text
    return answer.start + len(text) - len(text.lstrip()), answer.start + len(text.rstrip())
