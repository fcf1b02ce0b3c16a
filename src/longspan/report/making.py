"""Sections about the origin of the figures: the proof of the extension, and how each record was made."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from longspan.records import EvaluationRecord, ProofRecord, Provenance, Record
from longspan.report.blocks import Block, Cell, Facts, Section, Table, Text, count, number
from longspan.report.names import some

# With more records than this, how they were made is collapsed by kind.
_MOST_OPEN = 12


def proof_section(records: Sequence[ProofRecord]) -> Section | None:
    """Checks and drift of each extended model."""
    blocks: list[Block] = []
    for record in records:
        n_passed = sum(check.passed for check in record.checks)
        blocks.append(
            Text(
                f"{record.source} ({record.family}) was extended from {record.old_max_tokens:,} to "
                f"{record.max_tokens:,} tokens, attention window {_windows(record.attention_window)}, positions by "
                f"“{record.positions}”. {n_passed} of {len(record.checks)} checks passed."
            )
        )
        if record.checks:
            rows = [
                [
                    Cell(check.statement),
                    Cell("passed" if check.passed else "FAILED", is_best=not check.passed),
                    count(check.n_inputs),
                    Cell(f"{check.largest_error:.1e}", is_number=True),
                    Cell(f"{check.tolerance:.0e}", is_number=True),
                ]
                for check in record.checks
            ]
            blocks.append(Table(["Statement", "Verdict", "Inputs", "Largest error", "Allowed"], rows))
        if record.drift:
            rows = [
                [
                    count(d.n_tokens),
                    count(d.n_texts),
                    number(d.mean_cosine, 4),
                    Cell(f"{d.largest_error:.2g}", is_number=True),
                ]
                for d in record.drift
            ]
            caption = "Difference between the extended model and the original on real text, before any training."
            blocks.append(Table(["Tokens", "Texts", "Mean cosine", "Largest difference"], rows, caption))
    return Section("proof", "Proof of the extension", blocks) if blocks else None


def _windows(windows: Sequence[int]) -> str:
    """`512 in every layer`, or runs of layers (`64 x 4, 512 x 8`)."""
    runs = [(window, len(list(run))) for window, run in groupby(windows)]
    if len(runs) == 1:
        return f"{runs[0][0]} in every layer"
    return ", ".join(f"{window} × {n_layers}" for window, n_layers in runs)


def made_section(records: Sequence[Record], links: Sequence[str | None]) -> Section:
    """Command, commit, data and machine of every record, with a link to its file if it is known."""
    blocks: dict[str, list[Block]] = defaultdict(list)
    for record, link in zip(records, links, strict=True):
        name = getattr(record, "name", None) or getattr(record, "source", "")
        facts = [*_made_facts(record.made)]
        if isinstance(record, EvaluationRecord):
            facts.insert(0, ("Protocol", record.protocol))
            facts.insert(0, ("Model", record.model))
            if record.run is not None:
                seed = "" if record.training_seed is None else f", seed {record.training_seed}"
                facts.insert(0, ("Run", record.run + seed))
            if record.attention_backend:
                told = [f"{system}: {backend}" for system, backend in record.attention_backend.items()]
                facts.append(("Attention", "\n".join(told)))
        settings = getattr(record, "settings", None) or getattr(record, "recipe", None)
        if settings:
            # One per line, because a recipe has dozens of settings.
            facts.append(("Settings", "\n".join(f"{key}: {value}" for key, value in settings.items())))
        blocks[record.kind].append(Facts(f"{record.kind.capitalize()}: {name}", facts, link))
    if len(records) <= _MOST_OPEN:
        return Section("made", "How each figure was made", [block for own in blocks.values() for block in own])
    details = [(f"{kind.capitalize()}: {some(len(own), 'record')}", own) for kind, own in blocks.items()]
    return Section("made", "How each figure was made", [], details)


def _made_facts(made: Provenance) -> list[tuple[str, str]]:
    machine = made.machine
    facts = [("Command", made.command), ("Date", made.date)]
    if made.commit is not None:
        facts.append(("Commit", made.commit))
    if made.seed is not None:
        facts.append(("Seed", str(made.seed)))
    device = f"{machine.gpu}; " if machine.gpu else ""
    facts.append(
        ("Machine", f"{device}{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}")
    )
    facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())))
    if made.data:
        facts.append(("Data (SHA-256)", "\n".join(f"{name} {digest}" for name, digest in made.data.items())))
    return facts
