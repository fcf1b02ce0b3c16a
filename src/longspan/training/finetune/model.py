"""recipe -> the model that is trained: loaded, extended if asked for, with the task's head."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.records import ProofRecord
from longspan.tasks.adapters import load_with_head
from longspan.tasks.start_model import build_start_model, freeze
from longspan.tasks.task import FineTuningTask
from longspan.training.finetune.adapter import AdapterPlan, add_adapters
from longspan.training.recipe.fields import FinetuneRecipe


class BuiltModel(NamedTuple):
    """The model of a recipe before the first step.

    model: to train, float32, with an adapter around it if asked for. body: the same without the adapter's wrapper.
    proof: of the extension; None if nothing was extended. adapter: its plan; None without one.
    """

    model: nn.Module
    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    proof: ProofRecord | None
    adapter: AdapterPlan | None


def build_model(task: FineTuningTask, recipe: FinetuneRecipe, head_config: Mapping[str, Any]) -> BuiltModel:
    """Load, extend, give a head, set dropout, freeze, add an adapter: the same model for the same recipe and seed.

    Raises:
        InputError: the model cannot be loaded or extended, has no fast tokenizer, or `freeze`, `adapter_targets`,
            `adapter_base` or a dropout does not fit it.
    """
    dropout = {
        name: value for name in ("attention_dropout", "hidden_dropout") if (value := getattr(recipe, name)) is not None
    }
    start = build_start_model(
        recipe.model,
        task,
        load_with_head,
        head_config=head_config,
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
        trained, plan = add_adapters(start, task, recipe, frozen)
    return BuiltModel(trained, start.model, start.tokenizer, start.proof, plan)


def merge_adapters(model: nn.Module) -> PreTrainedModel:
    """Return the plain model, with the adapter, if there is one, added to its weights."""
    merge = getattr(model, "merge_and_unload", None)
    merged: Any = model if merge is None else merge()
    return merged
