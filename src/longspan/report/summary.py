"""The opening of a report: what was compared on what, what came out, and what that cannot say."""

from collections.abc import Sequence

from longspan.records import BenchmarkRecord, ProofRecord, Record, TrainingRecord
from longspan.report.blocks import Block, Section, Text, duration
from longspan.report.scores import Comparison, language_name, metric_name

# Published models of this kind train for hours on one GPU; below this a run shows that the path works, no more.
_SHORT_TRAINING_SECONDS = 2 * 3600
_LOW_SCORE = 50.0


def summary_section(records: Sequence[Record], found: Sequence[Comparison]) -> Section:
    """Plain sentences, every number from the records."""
    blocks: list[Block] = []
    for comparison in found:
        blocks += [Text(_compared(comparison)), *_outcome(comparison)]
    trainings = [record for record in records if isinstance(record, TrainingRecord)]
    blocks += [Text(_trained(record)) for record in trainings]
    blocks += [Text(text, is_note=True) for text in _caveats(trainings, found)]
    for record in records:
        if isinstance(record, ProofRecord):
            failed = [check for check in record.checks if not check.passed]
            verdict = "all its checks passed" if not failed else f"{len(failed)} of {len(record.checks)} checks FAILED"
            lengths = f"from {record.old_max_tokens:,} to {record.max_tokens:,} tokens"
            blocks.append(Text(f"{record.source} was extended {lengths}; {verdict}."))
        elif isinstance(record, BenchmarkRecord):
            n_measured = sum(timing.left_out is None for timing in record.timings)
            n_left_out = len(record.timings) - n_measured
            text = f"Benchmark “{record.name}”: {n_measured} measurements" + (
                f", {n_left_out} left out" if n_left_out else ""
            )
            blocks.append(Text(text + "."))
    return Section("summary", "In short", blocks)


def _compared(comparison: Comparison) -> str:
    record = comparison.records[0]
    languages = list(dict.fromkeys(score.language for score in record.scores))
    n_systems = len(comparison.systems)
    text = f"{n_systems} {'systems' if n_systems > 1 else 'system'} answered {comparison.n_questions():,} questions"
    text += (
        f" in {len(languages)} languages"
        if len(languages) > 1
        else f" in {language_name(languages[0])}"
        if languages
        else ""
    )
    text += f" ({record.protocol})." if record.protocol else "."
    sizes = {sum(s.n_questions for s in record.scores if s.system == name) for name in comparison.systems}
    if len(sizes) > 1:
        text += " Not every system answered all of them: compare only within a column."
    if len(comparison.records) > 1:
        text += f" Means over {len(comparison.records)} seeds."
    return text


def _outcome(comparison: Comparison) -> list[Text]:
    best = comparison.best_system()
    if best is None:
        return []
    metric = comparison.metrics[0]
    means = {name: comparison.mean(metric, name) for name in comparison.systems}
    ranked = sorted((name for name, mean in means.items() if mean is not None), key=lambda name: -(means[name] or 0.0))
    told = [f"{name} {means[name]:.1f}" for name in ranked]
    return [Text(f"Mean {metric_name(metric)}, best first: {'; '.join(told)}.")]


def _trained(record: TrainingRecord) -> str:
    n_steps = max((step.step for step in record.steps), default=0)
    return (
        f"The model “{record.name}” was trained for {duration(record.seconds)}: {n_steps:,} steps on "
        f"{record.n_examples:,} examples."
    )


def _caveats(trainings: Sequence[TrainingRecord], found: Sequence[Comparison]) -> list[str]:
    short = [record for record in trainings if record.seconds < _SHORT_TRAINING_SECONDS]
    means = [comparison.mean(comparison.metrics[0], comparison.best_system() or "") for comparison in found]
    low = [mean for mean in means if mean is not None and mean < _LOW_SCORE]
    texts = []
    if short and found:
        seconds = max(record.seconds for record in short)
        texts.append(
            f"The training took {'minutes' if seconds < 5400 else 'little time'}, not the hours a finished model takes"
            + (", and the scores are low accordingly" if low else "")
            + ". Compare the systems with each other; these figures do not show what a fully trained model reaches."
        )
    elif low:
        texts.append("The scores are low: differences between systems say more here than the scores themselves.")
    few = [comparison for comparison in found if 0 < comparison.n_questions() < 500]
    if few:
        texts.append("Few questions were asked; differences of a few points may be chance.")
    return texts
