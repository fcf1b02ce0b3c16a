"""Masked language modelling as a task of the table. `longspan pretrain` trains and scores it."""

from longspan.records import Metric
from longspan.tasks.task import Task


class MaskedLm(Task):
    """Filling in masked tokens of long text."""

    name = "masked_lm"
    title = "masked language modelling"
    verb = "pretrain"
    head = "masked_lm"
    item_noun = "token"
    metrics = (
        Metric(name="bits_per_token", label="Bits per token", unit="bits", higher_is_better=False),
        Metric(name="bits_per_character", label="Bits per character", unit="bits", higher_is_better=False),
    )
