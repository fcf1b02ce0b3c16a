"""The summary of a report: what was compared on what data, the results, and their limits."""

from collections.abc import Sequence

from longspan.records import (
    BenchmarkRecord,
    ComparisonRecord,
    Difference,
    GridRecord,
    LanguageModelScore,
    Metric,
    ProofRecord,
    Record,
    TrainingRecord,
)
from longspan.report.blocks import Block, Section, Text
from longspan.report.comparison import Comparison
from longspan.report.grid import state_of
from longspan.report.metric_display import mean_and_deviation, metric_of, signed_text, value_text
from longspan.report.names import language_name, some, without_length
from longspan.wording import duration

# Published models of this kind train for hours on one GPU; a shorter run only shows that everything works.
_SHORT_TRAINING_SECONDS = 3600
_LOW_SCORE = 50.0  # per cent
_FEW_ITEMS = 500
# Largest number of items in the list of a sentence, and of sentences of one kind.
_MOST_TOLD = 6


def summary_section(
    records: Sequence[Record], found: Sequence[tuple[str, Comparison]], notes: Sequence[str] = ()
) -> Section:
    """Make the summary from the records and the named comparisons in `found`; `notes` say what was left out."""
    blocks: list[Block] = []
    for name, comparison in found:
        sentences = [_compared(comparison), *_outcome(comparison)]
        # One sentence per line if there is a single comparison, else one paragraph per comparison.
        blocks += [Text(" ".join(sentences), lead=f"{name}:")] if len(found) > 1 else map(Text, sentences)
    for record in records:
        if isinstance(record, ComparisonRecord):
            blocks += _against(record)
    trainings = [record for record in records if isinstance(record, TrainingRecord)]
    if len(trainings) > _MOST_TOLD:
        seconds = sorted(record.seconds for record in trainings)
        blocks.append(
            Text(f"{len(trainings)} models were trained, for {duration(seconds[0])} to {duration(seconds[-1])}.")
        )
    else:
        blocks += [Text(_trained(record)) for record in trainings]
    blocks += [Text(text, is_note=True) for text in _caveats(trainings, found)]
    for record in records:
        if isinstance(record, GridRecord):
            blocks.append(Text(state_of(record)))
        elif isinstance(record, ProofRecord):
            failed = [check for check in record.checks if not check.passed]
            verdict = "all its checks passed" if not failed else f"{len(failed)} of {len(record.checks)} checks FAILED"
            lengths = f"from {record.old_max_tokens:,} to {record.max_tokens:,} tokens"
            blocks.append(Text(f"{record.source} was extended {lengths}; {verdict}."))
        elif isinstance(record, BenchmarkRecord):
            n_measured = sum(timing.left_out is None for timing in record.timings)
            n_left_out = len(record.timings) - n_measured
            text = f"Benchmark “{record.name}”: {some(n_measured, 'measurement')}" + (
                f", {n_left_out} left out" if n_left_out else ""
            )
            blocks.append(Text(text + "."))
    blocks += [Text(note, is_note=True) for note in notes]
    return Section("summary", "In short", blocks)


def _compared(comparison: Comparison) -> str:
    languages = list(dict.fromkeys(score.language for score in comparison.scores))
    protocol = comparison.records[0].protocol
    text = some(len(comparison.systems), "system")
    text += f", of {len(comparison.runs)} runs," if len(comparison.runs) > 1 else ""
    text += f" read {some(comparison.n_items(), comparison.noun)}"
    if len(languages) > 1:
        text += f" in {len(languages)} languages"
    elif languages:
        text += f" in {language_name(languages[0])}"
    data = list(dict.fromkeys(map(without_length, comparison.families)))
    text += f" of {', '.join(data)}" if len(data) <= _MOST_TOLD else ""
    text += f" ({protocol})." if protocol else "."
    if len({comparison.n_items(name) for name in comparison.systems}) > 1:
        text += " Not every system read all of them; compare only within a column."
    n_seeds = sorted({comparison.n_seeds(name) for name in comparison.systems})
    if n_seeds[-1] > 1:
        text += f" Means over {' to '.join(map(str, dict.fromkeys((n_seeds[0], n_seeds[-1]))))} seeds."
    return text


def _outcome(comparison: Comparison) -> list[str]:
    best = comparison.best_system()
    if best is None:
        return []
    metric = comparison.metrics[0]
    means = {name: comparison.seed_means(metric, name) for name in comparison.systems}
    ranked = comparison.ranked(metric)
    told = [f"{name} {mean_and_deviation(metric, means[name])}" for name in ranked[:_MOST_TOLD]]
    text = f"Mean {metric.label}{', best first' if len(told) > 1 else ''}: {'; '.join(told)}"
    text += f"; and {len(ranked) - _MOST_TOLD} more." if len(ranked) > _MOST_TOLD else "."
    if len(means[best]) > 1:
        text += " ±: standard deviation over seeds."
    margin = comparison.margin(metric, best)
    if margin:
        own = means[best][0]
        low, high = own - margin, own + margin
        if metric.is_per_cent:
            low, high = max(low, 0), min(high, 100)
        text += (
            f" With other {comparison.heading.lower()} of this kind, {'the first' if len(told) > 1 else 'it'} would be "
            f"between {value_text(metric, low)} and {value_text(metric, high)} "
            f"(95 % interval over {some(comparison.n_items(best), comparison.noun)})."
        )
    texts = [text]
    if len(comparison.records) == 1:
        rows = comparison.records[0].differences
        whole = [row for row in rows if (row.dataset, row.language) == ("all", "all")]
        pairs = [told for row in whole or rows if row.metric == metric.name and (told := _seen_from(row, best, metric))]
        if pairs and (whole or len(rows) <= _MOST_TOLD):
            texts.append(f"{best}: {'; '.join(pairs[:_MOST_TOLD])}.")
    return [*texts, *_speed(comparison, best, ranked[1:_MOST_TOLD])]


def _speed(comparison: Comparison, system: str, others: Sequence[str]) -> list[str]:
    """Items per second of a system, and the ratio to the other systems."""
    own = comparison.seconds(system)
    timed = [(name, seconds) for name in others if (seconds := comparison.seconds(name))]
    if not own or not timed:
        return []
    told = "; ".join(f"{seconds / own:.3g} times as many as {name}" for name, seconds in timed)
    return [f"{system} reads {1 / own:.3g} {comparison.noun}s per second: {told}."]


def _seen_from(row: Difference, best: str, metric: Metric) -> str | None:
    """Return a difference as the best system less the other one; None if it is of two others."""
    if best not in {row.system, row.baseline}:
        return None
    sign, other = (1, row.baseline) if best == row.system else (-1, row.system)
    low, high = sorted((sign * row.low, sign * row.high))
    interval = f"{signed_text(metric, low)} to {signed_text(metric, high)}"
    return f"{signed_text(metric, sign * row.mean)} over {other} (95 % interval {interval})"


def _against(record: ComparisonRecord) -> list[Block]:
    pooled = [row for row in record.differences if (row.dataset, row.language) == ("all", "all")]
    rows = pooled or record.differences
    if not rows:
        return []
    told = []
    for row in rows[:_MOST_TOLD]:
        metric = metric_of(row, record.metrics)
        told.append(
            f"{row.system} less {row.baseline} {signed_text(metric, row.mean)} {metric.label} (95 % interval "
            f"{signed_text(metric, row.low)} to {signed_text(metric, row.high)}, {some(row.n_units, record.item_noun)})"
        )
    more = f"; and {len(rows) - _MOST_TOLD} more" if len(rows) > _MOST_TOLD else ""
    return [Text(f"{record.name}: {'; '.join(told)}{more}.")]


def _trained(record: TrainingRecord) -> str:
    # A run that ended within its first epoch was not trained "on" all examples.
    over = "on" if record.epochs is None else f"{record.epochs:,.2f} epochs of"
    text = (
        f"The model “{record.name}” was trained for {duration(record.seconds)}: {some(record.n_steps, 'step')}, {over} "
        f"{some(record.n_examples, 'example')}."
    )
    before, after = _longest(record.language_model, "initial"), _longest(record.language_model, "final")
    if before is not None and after is not None and before.n_tokens == after.n_tokens:
        text += (
            f" Bits per token at {after.n_tokens:,} tokens: {before.bits_per_token:.2f} before, "
            f"{after.bits_per_token:.2f} after."
        )
    return text


def _longest(scores: Sequence[LanguageModelScore], when: str) -> LanguageModelScore | None:
    """The score at the greatest length over all sources, or of the only source."""
    own = [score for score in scores if score.when == when]
    together = [score for score in own if score.dataset == "all"]
    if not together and len({score.dataset for score in own}) == 1:
        together = own
    return max(together, key=lambda score: score.n_tokens, default=None)


def _caveats(trainings: Sequence[TrainingRecord], found: Sequence[tuple[str, Comparison]]) -> list[str]:
    # The longest training counts, because a model may have been trained in several stages, some of them short.
    longest = max((record.seconds for record in trainings), default=None)
    low = [comparison for _, comparison in found if _is_low(comparison)]
    texts = []
    if longest is not None and longest < _SHORT_TRAINING_SECONDS and found:
        texts.append(
            "The training took minutes instead of the hours that a good model needs"
            + (", so the scores are low" if low else "")
            + ". Compare the systems with each other; these figures do not show what a fully trained model reaches."
        )
    elif low:
        texts.append("The scores are low; look at the differences between systems rather than at the scores.")
    few = {name: comparison.noun for name, comparison in found if 0 < comparison.n_items() < _FEW_ITEMS}
    if few:
        of = f" of {'; '.join(few)}" if len(few) < len(found) else ""
        nouns = " and ".join(dict.fromkeys(f"{noun}s" for noun in few.values()))
        texts.append(f"Few {nouns} were read{of}: differences of a few points may be chance.")
    return texts


def _is_low(comparison: Comparison) -> bool:
    """Whether the best system is below half of the scale; False if the metric has no scale up to 100 per cent."""
    best = comparison.best_system()
    if best is None:
        return False
    metric = comparison.metrics[0]
    mean = comparison.mean(metric, best)
    return mean is not None and metric.is_per_cent and metric.higher_is_better and mean < _LOW_SCORE
