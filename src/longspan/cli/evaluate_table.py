"""What `longspan evaluate` prints of its record; `longspan report` shows all of it."""

from collections.abc import Sequence
from statistics import fmean

from longspan.records import EvaluationRecord, Score
from longspan.report.comparison import mean_seconds
from longspan.report.names import family_name


def evaluation_table(record: EvaluationRecord) -> list[str]:
    """Lines of text: systems downwards; mean F1 and EM, seconds, then F1 in each language, and of each kind of data."""
    languages = list(dict.fromkeys(score.language for score in record.scores))
    systems = list(dict.fromkeys(score.system for score in record.scores))
    several = len(languages) > 1
    rows = [["system", "F1", "EM", "s/question", "questions", *(languages if several else [])]]
    for system in systems:
        own = [score for score in record.scores if score.system == system]
        seconds = mean_seconds(own)
        rows.append(
            [
                system,
                _mean(own, "f1"),
                _mean(own, "em"),
                "-" if seconds is None else f"{seconds:.2f}",
                str(sum(score.n_questions for score in own)),
            ]
        )
        if several:
            rows[-1] += [_mean([score for score in own if score.language == code], "f1") for code in languages]
    kinds = list(dict.fromkeys(map(_family, record.scores)))
    mean = f"mean over {'languages' if len(kinds) == 1 else 'data sets'}, " if len(record.scores) > len(systems) else ""
    lines = _aligned(rows)
    lines.append(f"F1 and EM in per cent, {mean}by each language's own rules; {record.protocol}.")
    if len(kinds) > 1:
        rows = [["F1", *kinds]]
        for system in systems:
            own = [score for score in record.scores if score.system == system]
            rows.append([system, *(_mean([s for s in own if _family(s) == kind], "f1") for kind in kinds)])
        lines += ["", *_aligned(rows)]
    return [*lines, *_thesis_lines(record.scores, systems)]


def _thesis_lines(scores: Sequence[Score], systems: Sequence[str]) -> list[str]:
    rows = [["the thesis' protocol", "F1", "EM", "survivors"]]
    for system in systems:
        own = [score for score in scores if score.system == system and "thesis_survivors" in score.counts]
        if own:
            n_survivors = sum(score.counts["thesis_survivors"] for score in own)
            asked = sum(score.n_questions for score in own)
            rows.append([system, _mean(own, "f1_thesis"), _mean(own, "em_thesis"), f"{n_survivors} of {asked}"])
    if len(rows) == 1:
        return []
    return ["", *_aligned(rows), "Over survivors alone, the first window, start and end apart, English rules."]


def _mean(scores: Sequence[Score], metric: str) -> str:
    values = [score.metrics[metric] for score in scores if metric in score.metrics]
    return f"{fmean(values):.1f}" if values else "-"


def _family(score: Score) -> str:
    return family_name(score.dataset, score.language)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
