"""The best predictions and the surest mistakes, in their context, for the reader to judge."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from longspan.graphemes import whole_graphemes
from longspan.records import Item, Metric
from longspan.report.blocks import Example, Examples, Piece, Section, Text
from longspan.report.metric_display import best_of, value_text

_N_SHOWN = 10
# A gold answer of fewer bytes is marked as a whole word only: "in" stands in half of all words, while two Chinese
# letters are a word.
_FEW_BYTES = 4


def examples_of(items: Sequence[tuple[str, Item]], system: str | None, metric: Metric) -> list[Section]:
    """Return the ten best and ten worst predictions of one system, taken from all languages in turn.

    Args:
        items: each with the name of its system.
        system: whose predictions are shown; those of the others stand below.
        metric: decides what is good.
    """
    own = [item for name, item in items if name == system and metric.name in item.metrics]
    if not own or system is None:
        return []

    def value(item: Item) -> float:
        return item.metrics[metric.name]

    others: dict[tuple[str, str, str, int | None], list[tuple[str, str]]] = defaultdict(list)
    for name, item in items:
        if name != system:
            others[item.dataset, item.language, item.id, item.variant].append((name, item.prediction))

    top, bottom = best_of(metric, (value(item) for item in own)), _worst(metric, map(value, own))
    right = [item for item in own if metric.rank(value(item)) < metric.rank(bottom)]
    right.sort(key=lambda item: (metric.rank(value(item)), -_score(item)))
    best = _in_turn(right)
    chosen = {id(item) for item in best}
    wrong = [item for item in own if id(item) not in chosen and (value(item) != top or top == bottom)]
    wrong.sort(key=lambda item: (-metric.rank(value(item)), -_score(item)))
    worst = _in_turn(wrong)

    blocks: list[Text | Examples] = [
        Text(
            f"Predictions of “{system}”, one per input, languages in turn. Best: best {metric.label}, then surest. "
            f"Worst: worst {metric.label}, then surest: the mistakes to look at first. A prediction that is part of a "
            "text is marked in the text around it; underlined: gold. The gold follows below."
        )
    ]
    for title, found in ((f"{len(best)} best", best), (f"{len(worst)} worst", worst)):
        if found:
            blocks.append(
                Examples(title, [_example(i, metric, others[i.dataset, i.language, i.id, i.variant]) for i in found])
            )
    return [Section("answers", "Best and worst predictions", blocks)]


def _worst(metric: Metric, values: Iterable[float]) -> float:
    """Return the value that no good prediction has: 0, or the highest one if lower is better."""
    return 0.0 if metric.higher_is_better else max(values, default=0.0)


def _in_turn(ranked: Sequence[Item]) -> list[Item]:
    """Return the first ten, one from each language in turn, each input once."""
    by_language: dict[str, dict[tuple[str, str], Item]] = defaultdict(dict)
    for item in ranked:
        # A question asked at every place of its documents would fill the list. Two data sets may share an id.
        by_language[item.language].setdefault((item.id, item.input), item)
    turns = itertools.zip_longest(*(found.values() for found in by_language.values()))
    in_turn = (item for turn in turns for item in turn if item is not None)
    return list(itertools.islice(in_turn, _N_SHOWN))


def _score(item: Item) -> float:
    return float("-inf") if item.score is None else item.score


def _example(item: Item, metric: Metric, others: Sequence[tuple[str, str]]) -> Example:
    value = item.metrics[metric.name]
    facts = [f"{metric.label} {value:.0f}" if metric.is_per_cent else f"{metric.label} {value_text(metric, value)}"]
    facts.append(item.dataset)
    if item.variant is not None:
        facts.append(f"paragraph {item.variant + 1}")
    if (depth := item.extra.get("depth")) is not None:
        facts.append(f"depth {100 * depth:.0f} %")
    if item.n_tokens is not None:
        facts.append(f"{item.n_tokens:,} tokens")
    if item.truncated:
        facts.append("not all of it read" if item.n_tokens_read is None else f"{item.n_tokens_read:,} of them read")
    if item.score is not None:
        facts.append(f"model's score {item.score:.2f}")
    gold = list(dict.fromkeys(item.gold))
    before, after = item.extra.get("context_before", ""), item.extra.get("context_after", "")
    return Example(
        question=item.input,
        prediction=item.prediction,
        before=before,
        after=after,
        gold=gold,
        language=item.language,
        facts=facts,
        pieces=_pieces(before, item.prediction, after, gold),
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
