"""Long documents out of short ones: n paragraphs joined, every question keeping its own (SQ-n, XQ-n).

The construction is the one of Sagen's thesis (Large-Context Question Answering with Cross-Lingual Transfer, 2021,
section 3.1): the first question of each paragraph, consecutive groups of n paragraphs, contexts joined without a
separator, offsets shifted; the last group may be shorter.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from longspan.data.examples import GoldAnswer, QaDataset, QaExample
from longspan.errors import InputError


def concatenate(
    dataset: QaDataset,
    n: int,
    *,
    separator: str = "",
    seed: int | None = None,
    gold_slot: int | None = None,
    first_question_only: bool = True,
) -> QaDataset:
    """Give every question a context of `n` paragraphs, one of which is its own.

    A paragraph is a run of questions with the same context. The order of the questions stays that of `dataset`.

    Args:
        dataset: the questions with their short contexts.
        n: paragraphs in a context. With 1 the contexts stay as they are.
        separator: stands between two paragraphs.
        seed: shuffles which paragraphs stand together, and where; neighbours stay together where None.
        gold_slot: place the question's own paragraph there, from 0, and the others around it in their order. The last
            group is then filled up with the first paragraphs, so that every context has n. Where None, a paragraph
            stands where the grouping puts it, and the last group may be shorter.
        first_question_only: keep the first question of each paragraph, as the thesis does: a question is kept if its
            context differs from that of the row before (for the first row, the last row). All questions otherwise.

    Returns:
        Data set with `slot` and `n_slots` set. `counts["left_out_questions"]` says how many further questions of the
        paragraphs `first_question_only` left out. Answers that are not in their context stay without an offset.

    Raises:
        InputError: `n` is below 1, or above the number of paragraphs while `gold_slot` is given; `gold_slot` is not
            below `n`; `dataset` is concatenated already.
    """
    _check(dataset, n, gold_slot)
    examples = _first_questions(dataset.examples) if first_question_only else dataset.examples
    paragraph_of_example, paragraphs = _paragraphs(examples)
    if gold_slot is not None and n > len(paragraphs):
        raise InputError(f"{dataset.name} has {len(paragraphs)} paragraphs; n is {n}, choose at most as many")
    order = list(range(len(paragraphs)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    slots_of_paragraph = _group(order, n, gold_slot)

    joined: dict[tuple[int, ...], tuple[str, list[int]]] = {}
    result = []
    for example, paragraph in zip(examples, paragraph_of_example, strict=True):
        members = slots_of_paragraph[paragraph]
        if members not in joined:
            joined[members] = _join([paragraphs[i] for i in members], separator)
        context, starts = joined[members]
        slot = members.index(paragraph)
        result.append(
            replace(
                example,
                context=context,
                answers=tuple(_shift(answer, starts[slot]) for answer in example.answers),
                slot=slot,
                n_slots=len(members),
            )
        )
    counts = {**dataset.counts, "questions": len(result), "answers": sum(len(row.answers) for row in result)}
    counts["left_out_questions"] = len(dataset.examples) - len(result)
    counts["impossible"] = sum(row.is_impossible for row in result)
    counts["unlocatable_answers"] = sum(answer.start is None for row in result for answer in row.answers)
    kept = {row.id for row in result}
    return replace(
        dataset,
        name=f"{dataset.name} x{n}" + (f" slot {gold_slot}" if gold_slot is not None else ""),
        examples=result,
        counts={key: count for key, count in counts.items() if count},
        unlocatable_ids=[identifier for identifier in dataset.unlocatable_ids if identifier in kept],
    )


def _check(dataset: QaDataset, n: int, gold_slot: int | None) -> None:
    if n < 1:
        raise InputError(f"the number of paragraphs to concatenate is {n}; choose 1 or more")
    if gold_slot is not None and not 0 <= gold_slot < n:
        raise InputError(f"gold_slot is {gold_slot}; with {n} paragraphs it is between 0 and {n - 1}")
    if any(example.n_slots > 1 for example in dataset.examples):
        raise InputError(f"{dataset.name} is concatenated already; concatenate the original data set")


def _first_questions(examples: Sequence[QaExample]) -> list[QaExample]:
    kept = [example for i, example in enumerate(examples) if example.context != examples[i - 1].context]
    # A data set of one single paragraph differs from no row before; its first question is still its first.
    return kept or list(examples[:1])


def _paragraphs(examples: Sequence[QaExample]) -> tuple[list[int], list[str]]:
    """Number of the paragraph of each example, and the paragraphs."""
    numbers: list[int] = []
    paragraphs: list[str] = []
    for example in examples:
        if not paragraphs or example.context != paragraphs[-1]:
            paragraphs.append(example.context)
        numbers.append(len(paragraphs) - 1)
    return numbers, paragraphs


def _group(order: Sequence[int], n: int, gold_slot: int | None) -> dict[int, tuple[int, ...]]:
    """For each paragraph, the paragraphs of its context in their order."""
    members_of: dict[int, tuple[int, ...]] = {}
    for first in range(0, len(order), n):
        group = tuple(order[first : first + n])
        filled = group if gold_slot is None else (*group, *order[: n - len(group)])
        for paragraph in group:
            if gold_slot is None:
                members_of[paragraph] = group
            else:
                others = [other for other in filled if other != paragraph]
                members_of[paragraph] = (*others[:gold_slot], paragraph, *others[gold_slot:])
    return members_of


def _join(paragraphs: Sequence[str], separator: str) -> tuple[str, list[int]]:
    """The joined text and the character at which each paragraph starts."""
    lengths = [len(paragraph) + len(separator) for paragraph in paragraphs[:-1]]
    return separator.join(paragraphs), list(accumulate(lengths, initial=0))


def _shift(answer: GoldAnswer, by: int) -> GoldAnswer:
    return answer if answer.start is None else GoldAnswer(answer.text, answer.start + by)
