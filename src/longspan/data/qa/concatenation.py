"""Makes long documents by joining n paragraphs, one of which is the question's own (SQ-n, XQ-n).

The default construction is that of Sagen's thesis (Large-Context Question Answering with Cross-Lingual Transfer, 2021,
section 3.1): the first question of each paragraph, consecutive groups of n paragraphs, contexts joined without a
separator, offsets shifted; the last group may be shorter.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Literal, get_args

from longspan.data.qa.distractors import Distractors, draw_distractors
from longspan.data.qa.examples import GoldAnswer, QaDataset, QaExample
from longspan.errors import InputError

# The numbers of a context's paragraphs in order, and the slot of the question's own paragraph.
_Document = tuple[tuple[int, ...], int]


def concatenate(
    dataset: QaDataset,
    n: int,
    *,
    separator: str = "",
    seed: int | None = None,
    gold_slot: int | Literal["all"] | None = None,
    first_question_only: bool = True,
    distractors: Distractors = "neighbours",
    choose: Callable[[int], Sequence[int]] | None = None,
) -> QaDataset:
    """Give every question a context of `n` paragraphs, one of which is its own.

    A paragraph is a run of questions with the same context. The order of the questions does not change.

    Args:
        dataset: the questions with their short contexts.
        n: number of paragraphs per context; 1 leaves the contexts unchanged.
        separator: text between two paragraphs.
        seed: with neighbours, seed of a shuffle of the paragraphs; None: no shuffle. With other distractors, seed of
            the draw, and of the slots if `gold_slot` is None; None: 0.
        gold_slot: slot of the question's own paragraph, from 0; the others stand around it in their order. With
            neighbours the last group is then filled up with the first paragraphs, so that every context has n. "all"
            asks each question n times, with its paragraph in every slot among the same others. None: neighbours keep
            the slot that the grouping gives, and the last group may be shorter; among drawn distractors all slots are
            used equally often, or evenly spaced slots if there are fewer paragraphs than slots.
        first_question_only: keep only the first question of each paragraph, as the thesis does: a question is kept if
            its context differs from that of the row before (for the first row, of the last row).
        distractors: the other paragraphs. "neighbours": groups of consecutive paragraphs, as in the thesis. "same
            article" and "other articles": random paragraphs for each paragraph; a longer context has the distractors
            of a shorter one and more. If an article has too few paragraphs, "same article" takes all of them and draws
            the rest from other articles; "other articles" does the reverse. Both are counted.
        choose: function from the number of questions to the ascending numbers of those to keep; None: all. The
            paragraphs of the others can still be distractors.

    Returns:
        Data set with `slot` and `n_slots` set. `counts` has `left_out_questions` (further questions of the paragraphs,
        left out by `first_question_only`), `filled_from_other_articles` and `filled_from_same_article` (contexts that
        were filled up). With "all" a question's id occurs once per slot. Answers that are not in their context have no
        offset.

    Raises:
        InputError: `n` is below 1, or above the number of paragraphs if every context must have n; `gold_slot` is not
            below `n`; `dataset` is concatenated already, or has no titles to identify articles.
    """
    _check(dataset, n, gold_slot, distractors)
    examples = _first_questions(dataset.examples) if first_question_only else dataset.examples
    paragraph_of_example, paragraphs = _paragraphs(examples)
    if (gold_slot is not None or distractors != "neighbours") and n > len(paragraphs):
        raise InputError(f"{dataset.name} has {len(paragraphs)} paragraphs; n is {n}, choose at most as many")
    asked = range(len(examples)) if choose is None else choose(len(examples))
    n_filled: list[int] = [0] * len(paragraphs)
    if distractors == "neighbours":
        documents = _group_neighbours(len(paragraphs), n, gold_slot, seed)
    else:
        titles = _titles(examples, paragraph_of_example, dataset.name)
        drawn = draw_distractors(paragraphs, titles, n - 1, distractors, seed or 0, dataset.name)
        n_filled = [own.n_filled for own in drawn]
        asked_paragraphs = list(dict.fromkeys(paragraph_of_example[i] for i in asked))
        documents = _place_among([own.paragraphs for own in drawn], asked_paragraphs, n, gold_slot, seed or 0)

    joined: dict[tuple[int, ...], tuple[str, list[int]]] = {}
    result = []
    for i in asked:
        example = examples[i]
        for members, slot in documents[paragraph_of_example[i]]:
            if members not in joined:
                joined[members] = _join([paragraphs[i] for i in members], separator)
            context, starts = joined[members]
            answers = tuple(_shift(answer, starts[slot]) for answer in example.answers)
            result.append(replace(example, context=context, answers=answers, slot=slot, n_slots=len(members)))
    counts = {**dataset.counts, "questions": len(result), "answers": sum(len(row.answers) for row in result)}
    counts["left_out_questions"] = len(dataset.examples) - len(examples)
    counts["impossible"] = sum(row.is_impossible for row in result)
    counts["unlocatable_answers"] = sum(answer.start is None for row in result for answer in row.answers)
    filled = "filled_from_other_articles" if distractors == "same article" else "filled_from_same_article"
    counts[filled] = sum(n_filled[paragraph_of_example[i]] > 0 for i in asked) * (n if gold_slot == "all" else 1)
    kept = {row.id for row in result}
    return replace(
        dataset,
        name=_name(dataset.name, n, gold_slot, distractors),
        examples=result,
        counts={key: count for key, count in counts.items() if count},
        unlocatable_ids=[identifier for identifier in dataset.unlocatable_ids if identifier in kept],
    )


def _name(name: str, n: int, gold_slot: int | Literal["all"] | None, distractors: Distractors) -> str:
    details = [] if distractors == "neighbours" else [distractors]
    details += ["every slot"] if gold_slot == "all" else []
    # Before the length, because names are parsed with the length at the end.
    in_brackets = f" ({', '.join(details)})" if details else ""
    return f"{name}{in_brackets} x{n}" + (f" slot {gold_slot}" if isinstance(gold_slot, int) else "")


def _check(dataset: QaDataset, n: int, gold_slot: int | Literal["all"] | None, distractors: Distractors) -> None:
    if n < 1:
        raise InputError(f"the number of paragraphs to concatenate is {n}; choose 1 or more")
    if isinstance(gold_slot, int) and not 0 <= gold_slot < n:
        raise InputError(f"gold_slot is {gold_slot}; with {n} paragraphs it is between 0 and {n - 1}")
    if isinstance(gold_slot, str) and gold_slot != "all":
        raise InputError(f"gold_slot is {gold_slot!r}; choose a number from 0, or 'all'")
    if distractors not in get_args(Distractors):
        raise InputError(f"there are no distractors {distractors!r}; choose one of {', '.join(get_args(Distractors))}")
    if any(example.n_slots > 1 for example in dataset.examples):
        raise InputError(f"{dataset.name} is concatenated already; concatenate the original data set")


def _first_questions(examples: Sequence[QaExample]) -> list[QaExample]:
    kept = [example for i, example in enumerate(examples) if example.context != examples[i - 1].context]
    # In a data set of a single paragraph no context differs from that of the row before.
    return kept or list(examples[:1])


def _paragraphs(examples: Sequence[QaExample]) -> tuple[list[int], list[str]]:
    """Return the number of each example's paragraph, and the paragraphs."""
    numbers: list[int] = []
    paragraphs: list[str] = []
    for example in examples:
        if not paragraphs or example.context != paragraphs[-1]:
            paragraphs.append(example.context)
        numbers.append(len(paragraphs) - 1)
    return numbers, paragraphs


def _titles(examples: Sequence[QaExample], paragraph_of_example: Sequence[int], name: str) -> list[str]:
    """The article of each paragraph."""
    titles: list[str] = []
    for example, paragraph in zip(examples, paragraph_of_example, strict=True):
        if paragraph == len(titles):
            titles.append(example.title)
    if not all(titles):
        raise InputError(
            f"{name} does not say which article its paragraphs are from ({titles.count('')} of {len(titles)} have no "
            "title); take neighbours as distractors"
        )
    return titles


def _group_neighbours(
    n_paragraphs: int, n: int, gold_slot: int | Literal["all"] | None, seed: int | None
) -> dict[int, list[_Document]]:
    """Return the documents of each paragraph: one, or with "all" one per slot."""
    order = list(range(n_paragraphs))
    if seed is not None:
        random.Random(seed).shuffle(order)
    documents: dict[int, list[_Document]] = {}
    for first in range(0, n_paragraphs, n):
        group = tuple(order[first : first + n])
        filled = group if gold_slot is None else (*group, *order[: n - len(group)])
        for place, paragraph in enumerate(group):
            if gold_slot is None:
                documents[paragraph] = [(group, place)]
            else:
                others = [other for other in filled if other != paragraph]
                documents[paragraph] = list(_with_own(others, paragraph, _slots(gold_slot, n)))
    return documents


def _place_among(
    others: Sequence[Sequence[int]],
    asked: Sequence[int],
    n: int,
    gold_slot: int | Literal["all"] | None,
    seed: int,
) -> dict[int, list[_Document]]:
    """Return the documents of each paragraph in `asked`, with the paragraph among its distractors."""
    drawn_slots = _spread_slots(len(asked), n)
    random.Random(seed).shuffle(drawn_slots)
    return {
        paragraph: list(_with_own(others[paragraph], paragraph, [slot] if gold_slot is None else _slots(gold_slot, n)))
        for paragraph, slot in zip(asked, drawn_slots, strict=True)
    }


def _spread_slots(n_paragraphs: int, n: int) -> list[int]:
    """A slot for each paragraph: all `n` equally often, or evenly spaced slots if there are fewer paragraphs."""
    if n_paragraphs < n:
        return [(2 * i + 1) * n // (2 * n_paragraphs) for i in range(n_paragraphs)]
    return [i % n for i in range(n_paragraphs)]


def _slots(gold_slot: int | Literal["all"], n: int) -> Sequence[int]:
    return range(n) if gold_slot == "all" else [gold_slot]


def _with_own(others: Sequence[int], paragraph: int, slots: Sequence[int]) -> Iterator[_Document]:
    for slot in slots:
        yield (*others[:slot], paragraph, *others[slot:]), slot


def _join(paragraphs: Sequence[str], separator: str) -> tuple[str, list[int]]:
    """Return the joined text and the offset of each paragraph."""
    lengths = [len(paragraph) + len(separator) for paragraph in paragraphs[:-1]]
    return separator.join(paragraphs), list(accumulate(lengths, initial=0))


def _shift(answer: GoldAnswer, by: int) -> GoldAnswer:
    return answer if answer.start is None else GoldAnswer(answer.text, answer.start + by)
