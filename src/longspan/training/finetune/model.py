"""recipe -> the model that is trained: loaded, extended where asked, with a question answering head."""

import fnmatch
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.records import ProofRecord
from longspan.tasks.start_model import as_question_answering, build_qa_model, set_dropout
from longspan.training.finetune.adapter import AdapterPlan, add_adapters
from longspan.training.recipe.fields import FinetuneRecipe

__all__ = ["BuiltModel", "as_question_answering", "build_model", "freeze", "merge_adapters", "set_dropout"]


class BuiltModel(NamedTuple):
    """What a recipe starts from.

    model: to train, float32, with an adapter around it where asked. body: the same without the adapter's wrapper.
    proof: of the extension, None where nothing was extended. adapter: what it will be, None without one.
    """

    model: nn.Module
    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    proof: ProofRecord | None
    adapter: AdapterPlan | None


def build_model(recipe: FinetuneRecipe) -> BuiltModel:
    """Load, extend, give a head, set dropout, freeze, add an adapter: the same model for the same recipe and seed.

    Raises:
        InputError: the model cannot be loaded or extended, has no fast tokenizer, or `freeze`, `adapter_targets`,
            `adapter_base` or a dropout does not fit it.
    """
    dropout = {
        name: value for name in ("attention_dropout", "hidden_dropout") if (value := getattr(recipe, name)) is not None
    }
    start = build_qa_model(
        recipe.model,
        max_tokens=recipe.max_tokens,
        attention_window=recipe.attention_window,
        positions=recipe.positions,
        proof=recipe.proof,
        allow_pickle=recipe.allow_pickle,
        seed=recipe.seed,
        **dropout,
    )
    if start.tokenizer is None:
        raise InputError(f"{recipe.model} has no tokenizer beside it; save its tokenizer into the same folder")
    freeze(start.model, recipe.freeze)
    trained, plan = start.model, None
    if recipe.adapter_rank is not None:
        frozen = frozenset(name for name, one in start.model.named_parameters() if not one.requires_grad)
        trained, plan = add_adapters(start, recipe, frozen)
    return BuiltModel(trained, start.model, start.tokenizer, start.proof, plan)


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Take the parameters whose name contains a pattern (`*` matches anything) out of training; returns how many.

    Raises:
        InputError: a pattern matches no parameter, or nothing is left to train.
    """
    named = dict(model.named_parameters())
    n_frozen = 0
    for pattern in patterns:
        found = [name for name in named if fnmatch.fnmatchcase(name, f"*{pattern}*")]
        if not found:
            some = ", ".join(list(named)[:3])
            raise InputError(f"freeze: no parameter is called {pattern!r}; the model has {some}, ...")
        for name in found:
            n_frozen += named[name].requires_grad
            named[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise InputError("freeze: nothing is left to train; freeze fewer parameters")
    return n_frozen


def merge_adapters(model: nn.Module) -> PreTrainedModel:
    """The plain model: an adapter, where there is one, added into its weights."""
    merge = getattr(model, "merge_and_unload", None)
    merged: Any = model if merge is None else merge()
    return merged
