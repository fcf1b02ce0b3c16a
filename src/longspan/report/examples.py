"""The section with the best and the worst predictions in their context."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from longspan.graphemes import whole_graphemes
from longspan.records import Item, Metric
from longspan.report.blocks import Example, Examples, Piece, Section, Text
from longspan.report.metric_display import best_of, value_text

_N_SHOWN = 10
# A gold answer of fewer bytes is marked only as a whole word: "in" occurs inside many words, while two Chinese letters
# are a word.
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
            f"Predictions of “{system}”, one per input, languages in turn. Best: best {metric.label} first, then by "
            f"confidence. Worst: worst {metric.label} first, then by confidence. A prediction that is part of a text "
            "is marked in its context, and gold answers are underlined. The gold answers follow below."
        )
    ]
    for title, found in ((f"{len(best)} best", best), (f"{len(worst)} worst", worst)):
        if found:
            blocks.append(
                Examples(title, [_example(i, metric, others[i.dataset, i.language, i.id, i.variant]) for i in found])
            )
    return [Section("answers", "Best and worst predictions", blocks)]


def _worst(metric: Metric, values: Iterable[float]) -> float:
    """Return the worst value of a metric: 0, or the highest value if lower is better."""
    return 0.0 if metric.higher_is_better else max(values, default=0.0)


def _in_turn(ranked: Sequence[Item]) -> list[Item]:
    """Return the first ten items, from each language in turn, without repeated inputs."""
    by_language: dict[str, dict[tuple[str, str], Item]] = defaultdict(dict)
    for item in ranked:
        # A question that is asked at every place would fill the list. Two data sets may share an id.
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
    """Split the passage at the starts and ends of the answer and the gold answers in it."""
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
