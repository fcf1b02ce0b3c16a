"""What the model cards of all training runs have in common."""

from typing import Any

from longspan.extend.sources import public_name
from longspan.records import ProofRecord, TrainingRecord

# Fields that a card does not show: secrets, and paths of the machine that trained.
_PRIVATE = {"hub_token", "output_dir", "resume_from_checkpoint", "overwrite_output_dir"}


def extension_sentence(proof: ProofRecord) -> str:
    """How the model was extended before the training; to follow "Before training,"."""
    windows = ", ".join(map(str, sorted(set(proof.attention_window))))
    return (
        f"the encoder of {proof.old_max_tokens:,} tokens was extended to {proof.max_tokens:,} (attention window "
        f"{windows}, positions: {proof.positions}); `proof.json` shows what that kept."
    )


def training_section(record: TrainingRecord, amount: str) -> list[str]:
    """Return the section on the training: its size, its duration, and the fields of the recipe as a table.

    `amount` says what was trained on: "1,200 questions, 3,400 rows".
    """
    return [
        "## Training",
        "",
        f"{amount}, {record.n_steps:,} steps, {record.seconds / 60:.1f} minutes; all of it in `training.json`.",
        "",
        "| field | value |",
        "|---|---|",
        *[f"| `{name}` | {_cell(value)} |" for name, value in record.recipe.items() if name not in _PRIVATE],
        "",
    ]


def _cell(value: Any) -> str:
    """A field's value in a table; a folder by its own name only."""
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    return public_name(value) if isinstance(value, str) else str(value)
