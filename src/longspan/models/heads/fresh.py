"""A configuration for another task head than the one it was written with."""

import logging
from typing import Any

logger = logging.getLogger(__name__)

# What configurations say of a classification head alone; families have some of these keys. Keys that other heads or
# the encoder read as well (ModernBERT's `classifier_pooling`, MobileBERT's `classifier_activation`) are not here.
_HEAD_KEYS = (
    "id2label",
    "label2id",
    "problem_type",
    "finetuning_task",
    "task_specific_params",
    "classifier_dropout",
    "classifier_dropout_prob",
    "seq_classif_dropout",
    "summary_type",
    "summary_use_proj",
    "summary_activation",
    "summary_first_dropout",
    "summary_last_dropout",
    "summary_proj_to_labels",
)


def reset_head(config: Any) -> None:
    """Set everything that `config` says of a task head back to its class's default, in place."""
    fresh = type(config)()
    for key in (*_HEAD_KEYS, *(["classifier_activation"] if config.model_type == "longformer" else [])):
        if hasattr(fresh, key):
            setattr(config, key, getattr(fresh, key))
        elif key in vars(config):
            delattr(config, key)


def other_head(config: Any, wanted: str) -> str | None:
    """The class that `config` names, if it has a head other than the `wanted` one ("ForMaskedLM"); None otherwise."""
    named = next(iter(getattr(config, "architectures", None) or []), None)
    if named is None or wanted in named or (named.endswith("Model") and "Head" not in named):
        return None
    return named


def say_left_behind(name: str, old: str, new: str, notes: list[str] | None = None) -> None:
    """Say that a model's head was replaced.

    Args:
        name: of the model.
        old: the class that it was.
        new: the task of the new head.
        notes: gets the sentence; logged as a warning where None.
    """
    note = f"it is a {old}: its head and labels are left behind, and {new} starts with a new head, drawn at random"
    if notes is None:
        logger.warning("%s: %s", name, note)
    else:
        notes.append(note)
