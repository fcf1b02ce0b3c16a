"""The answers a reader can judge for himself: the best ones and the surest mistakes, in their context."""

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence

from longspan.graphemes import whole_graphemes
from longspan.records import Answer
from longspan.report.blocks import Example, Examples, Piece, Section, Text
from longspan.report.names import metric_name

_N_SHOWN = 10
# A gold answer of fewer bytes is marked as a whole word only: "in" stands in half of all words, while two Chinese
# letters are a word.
_FEW_BYTES = 4


def examples_of(answers: Sequence[tuple[str, Answer]], system: str | None, metric: str) -> list[Section]:
    """Ten best and ten worst answers of one system, taken from all languages in turn; none where there are none.

    Args:
        answers: with the name of the system that gave each.
        system: whose answers are shown; the others' stand below.
        metric: decides what is good.
    """
    own = [answer for name, answer in answers if name == system and metric in answer.metrics]
    if not own or system is None:
        return []
    # A question may be asked several times, its paragraph at another place each.
    others: dict[tuple[str, str, str, int | None], list[tuple[str, str]]] = defaultdict(list)
    for name, answer in answers:
        if name != system:
            others[answer.dataset, answer.language, answer.id, answer.slot].append((name, answer.prediction))

    top = max(answer.metrics[metric] for answer in own)
    right = [answer for answer in own if answer.metrics[metric] > 0]
    right.sort(key=lambda answer: (answer.metrics[metric], _score(answer)), reverse=True)
    best = _in_turn(right)
    chosen = {id(answer) for answer in best}
    wrong = [answer for answer in own if id(answer) not in chosen and (answer.metrics[metric] < top or top == 0)]
    wrong.sort(key=lambda answer: (-answer.metrics[metric], _score(answer)), reverse=True)
    worst = _in_turn(wrong)

    blocks: list[Text | Examples] = [
        Text(
            f"Answers of “{system}”, languages in turn, a question once. Best: highest score, then surest. Worst: "
            "lowest score, then surest: the mistakes to look at first. The answer is marked in the text around it, "
            "with a line below it where a gold answer stands in that text, too; the gold answers stand below."
        )
    ]
    for title, found in ((f"{len(best)} best", best), (f"{len(worst)} worst", worst)):
        if found:
            blocks.append(
                Examples(title, [_example(a, metric, others[a.dataset, a.language, a.id, a.slot]) for a in found])
            )
    return [Section("answers", "Best and worst answers", blocks)]


def _in_turn(ranked: Sequence[Answer]) -> list[Answer]:
    """The first ten, one from each language in turn, each language in its own order; a question once."""
    by_language: dict[str, dict[tuple[str, str], Answer]] = defaultdict(dict)
    for answer in ranked:
        # Asked at every place of documents of several lengths, one question could fill the list. Ids alone do not tell
        # questions of two data sets apart.
        by_language[answer.language].setdefault((answer.id, answer.question), answer)
    turns = itertools.zip_longest(*(found.values() for found in by_language.values()))
    in_turn = (answer for turn in turns for answer in turn if answer is not None)
    return list(itertools.islice(in_turn, _N_SHOWN))


def _score(answer: Answer) -> float:
    return float("-inf") if answer.score is None else answer.score


def _example(answer: Answer, metric: str, others: Sequence[tuple[str, str]]) -> Example:
    facts = [f"{metric_name(metric)} {answer.metrics[metric]:.0f}", answer.dataset]
    if answer.slot is not None:
        facts.append(f"paragraph {answer.slot + 1}")
    if answer.depth is not None:
        facts.append(f"depth {100 * answer.depth:.0f} %")
    if answer.n_tokens is not None:
        facts.append(f"{answer.n_tokens:,} tokens")
    if answer.score is not None:
        facts.append(f"model's score {answer.score:.2f}")
    gold = list(dict.fromkeys(answer.gold))
    return Example(
        question=answer.question,
        prediction=answer.prediction,
        before=answer.context_before,
        after=answer.context_after,
        gold=gold,
        language=answer.language,
        facts=facts,
        pieces=_pieces(answer.context_before, answer.prediction, answer.context_after, gold),
        others=others,
    )


def _pieces(before: str, prediction: str, after: str, gold: Sequence[str]) -> list[Piece]:
    """The passage cut where the answer, or a gold answer in it, starts or ends."""
    text = before + prediction + after
    first, last = len(before), len(before) + len(prediction)
    spans = []
    for answer in filter(str.strip, gold):
        pattern = re.escape(answer.strip())
        if len(answer.strip().encode()) < _FEW_BYTES:
            pattern = rf"(?<!\w){pattern}(?!\w)"
        spans += [whole_graphemes(text, *match.span()) for match in re.finditer(pattern, text)]
    cuts = sorted({0, first, last, len(text), *(place for span in spans for place in span)})
    return [
        Piece(
            text[start:end],
            first <= start and end <= last,
            any(low <= start and end <= high for low, high in spans),
        )
        for start, end in itertools.pairwise(cuts)
    ]
