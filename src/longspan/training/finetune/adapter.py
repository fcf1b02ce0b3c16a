"""Trains an adapter: puts PEFT's low-rank factors around a recipe's model, and reads them at the end."""

import importlib.util
import logging
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from longspan.errors import InputError
from longspan.extend.sources import public_name
from longspan.tasks.adapter_files import (
    Adapter,
    AdapterDescription,
    Factors,
    is_adapter,
    lasting_name,
    read_adapter,
)
from longspan.tasks.adapters import (
    Base,
    base_like,
    describe,
    encoder_maps,
    find_changes,
    head_of_config,
    low_rank,
    make_base,
)
from longspan.tasks.start_model import StartModel
from longspan.tasks.task import FineTuningTask
from longspan.training.recipe.fields import FinetuneRecipe

logger = logging.getLogger(__name__)


class AdapterPlan(NamedTuple):
    """What the finished adapter describes and stores.

    replaced: parameters that differ from the base's before the first step.
    """

    description: AdapterDescription
    replaced: frozenset[str]


def add_adapters(
    start: StartModel, task: FineTuningTask, recipe: FinetuneRecipe, frozen: frozenset[str]
) -> tuple[nn.Module, AdapterPlan]:
    """Return PEFT's model around `start.model`, which is changed in place, and the plan of the finished adapter.

    If the model to start from is not the base (`adapter_base`, or `model` is an adapter), the factors start as the best
    approximation of the difference of the two. It is exact if that was an adapter of the same or a lower rank.

    Args:
        start: the model to start from.
        task: of the model.
        recipe: with an `adapter_rank`.
        frozen: names of parameters that stay as they are; their matrices get no factors.

    Raises:
        InputError: PEFT is not installed, the model was not made from the base, or `adapter_targets` names no linear
            map of the encoder.
    """
    if importlib.util.find_spec("peft") is None:
        raise InputError("adapter_rank needs the package peft; install longspan[peft]")
    assert recipe.adapter_rank is not None
    model, rank = start.model, recipe.adapter_rank
    alpha = 2.0 * rank if recipe.adapter_alpha is None else recipe.adapter_alpha
    head = head_of_config(model.config, task)
    base, positions = _base_of(start, task, head, recipe)
    is_start = base.model is model
    changes = ([], {}) if is_start else find_changes(base.model, model)
    targets = list(dict.fromkeys([*_targets(model, recipe.adapter_targets, frozen), *changes[0]]))
    description = describe(base, task, head, positions=positions, rank=rank, alpha=alpha)
    beginnings, kept = _beginnings(base.model, model, changes[0], rank)
    if kept:
        description = description.model_copy(update={"kept": kept})
        logger.warning(
            "the change from %s has a higher rank than %d; the adapter begins with %.0f %% of its squared norm in the "
            "mean of the matrices",
            public_name(base.name),
            rank,
            100 * sum(kept.values()) / len(beginnings),
        )
    wrapped = _wrap(model, recipe, targets, rank, alpha)
    _begin(wrapped, base.model, beginnings, alpha / rank)
    for name, parameter in wrapped.named_parameters():
        if _plain(name) in frozen:
            parameter.requires_grad_(False)
    return wrapped, AdapterPlan(description, frozenset(changes[1]))


def _wrap(model: PreTrainedModel, recipe: FinetuneRecipe, targets: list[str], rank: int, alpha: float) -> nn.Module:
    """PEFT's model around `model`: factors at the weights `targets`; the head, and what the recipe says, whole."""
    import peft

    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,  # pyright: ignore[reportArgumentType] - a float will do
        lora_dropout=recipe.adapter_dropout,
        target_modules=[name.removesuffix(".weight") for name in targets],
        modules_to_save=[*_head_modules(model), *(_norms(model) if "norms" in recipe.adapter_also else [])],
        bias="all" if "biases" in recipe.adapter_also else "none",
    )
    with warnings.catch_warnings():
        # peft asks for a name that transformers 5.23 has replaced and still has.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        wrapped: Any = peft.get_peft_model(model, config)
    # At every checkpoint PEFT reads the configuration of a base that has a name, from its folder or the hub, to see
    # whether the vocabulary was resized. It is not, so the name is removed from PEFT's configuration, and from the
    # model, where PEFT looks next.
    model.name_or_path = ""
    wrapped.peft_config["default"].base_model_name_or_path = None
    return wrapped


def read_out(wrapped: nn.Module, plan: AdapterPlan) -> Adapter:
    """Return the adapter in PEFT's model."""
    factors: dict[str, Factors] = {}
    whole: dict[str, Tensor] = {}
    for name, module in _inner(wrapped).named_modules():
        if "default" in getattr(module, "lora_A", ()):
            parts: Any = module
            factors[f"{name}.weight"] = Factors(
                parts.lora_A["default"].weight.detach().cpu(), parts.lora_B["default"].weight.detach().cpu()
            )
    for name, parameter in wrapped.named_parameters():
        plain = _plain(name)
        if plain is not None and (plain in plan.replaced or parameter.requires_grad):
            whole[plain] = parameter.detach().cpu()
    return Adapter(plan.description, factors, whole)


def adapter_lines(adapter: Adapter, *, half: bool) -> list[str]:
    """Return the section on the adapter for the model card."""
    says = adapter.description
    extended = ""
    if says.max_tokens is not None:
        extended = f", extended to {says.max_tokens:,} tokens (attention window {says.attention_window})"
    lines = [
        "## Adapter",
        "",
        f"This folder does not hold the model, only what training changed in `{public_name(says.base)}`{extended}: "
        f"low-rank factors of rank {says.rank} for {len(adapter.factors)} matrices, and {len(adapter.whole)} whole "
        f"tensors, {adapter.n_bytes(half=half) / 1e6:.2f} MB. longspan builds the base, checks that it is the very "
        "same, and adds the factors to its weights.",
        "",
    ]
    if says.kept:
        shares = sorted(says.kept.values())
        lines += [
            f"The factors were cut out of changes of higher rank: they held {100 * sum(shares) / len(shares):.1f} % of "
            f"their squared norm in the mean of {len(shares)} matrices ({100 * shares[0]:.1f} to "
            f"{100 * shares[-1]:.1f} %; `adapter.json` has each).",
            "",
        ]
    return lines


def _base_of(start: StartModel, task: FineTuningTask, head: dict[str, Any], recipe: FinetuneRecipe) -> tuple[Base, Any]:
    """Return the base, and how its position rows were filled."""
    wanted = None if recipe.adapter_base is None else lasting_name(recipe.adapter_base)
    if is_adapter(recipe.model):
        says = read_adapter(recipe.model).description
        if wanted in (None, lasting_name(says.base)) and recipe.max_tokens is None:
            base = make_base(
                says.base,
                task,
                head_config=head,
                max_tokens=says.max_tokens,
                attention_window=says.attention_window,
                positions=says.positions,
                allow_pickle=recipe.allow_pickle,
            )
            return base, says.positions
        name = recipe.adapter_base or says.base
    elif wanted in (None, lasting_name(recipe.model)):
        window = None if recipe.max_tokens is None else recipe.attention_window
        return Base(start.model, start.tokenizer, recipe.model, recipe.max_tokens, window), recipe.positions
    else:
        assert recipe.adapter_base is not None
        name = recipe.adapter_base
    base = base_like(
        name, start.model, task, head_config=head, positions=recipe.positions, allow_pickle=recipe.allow_pickle
    )
    return base, recipe.positions


def _targets(model: PreTrainedModel, wanted: list[str], frozen: frozenset[str]) -> list[str]:
    """Names of the weights that get factors: all linear maps of the encoder, or those of the wanted names."""
    known = encoder_maps(model)
    found = []
    for name in known:
        module = "." + name.removesuffix(".weight")
        if name not in frozen and (not wanted or any(module.endswith("." + part) for part in wanted)):
            found.append(name)
    unknown = [part for part in wanted if not any(f".{name}".endswith(f".{part}.weight") for name in known)]
    if unknown or not found:
        leaves = sorted({name.split(".")[-2] for name in known})
        what = f"no linear map of the encoder is called {unknown[0]!r}" if unknown else "all linear maps are frozen"
        raise InputError(f"adapter_targets: {what}; they are called {', '.join(leaves)}")
    return found


def _beginnings(
    base: PreTrainedModel, start: PreTrainedModel, names: list[str], rank: int
) -> tuple[dict[str, Factors], dict[str, float]]:
    """Factors of the difference of `start` and `base`, and the share of it that they hold, if less than all."""
    factors, kept = {}, {}
    for name in names:
        change = (start.get_parameter(name) - base.get_parameter(name)).detach()
        factors[name], share = low_rank(change, rank)
        if share < 1 - 1e-6:
            kept[name] = share
    return factors, kept


def _begin(wrapped: nn.Module, base: PreTrainedModel, beginnings: dict[str, Factors], scale: float) -> None:
    """Replace PEFT's random factors by the given ones, and the weights below them by the base's."""
    inner = _inner(wrapped)
    with torch.no_grad():
        for name, (a, b) in beginnings.items():
            module: Any = inner.get_submodule(name.removesuffix(".weight"))
            module.base_layer.weight.copy_(base.get_parameter(name))
            # Ranks that the change does not need keep PEFT's start (a random, b zero), so that they can be trained.
            n = int((a.square().sum(1) > 1e-5 * a.square().sum(1).max()).sum())
            module.lora_A["default"].weight[:n] = a[:n] / scale**0.5
            module.lora_B["default"].weight[:, :n] = b[:, :n] / scale**0.5


def _inner(wrapped: nn.Module) -> nn.Module:
    found: Any = wrapped
    return found.base_model.model


def _plain(name: str) -> str | None:
    """PEFT's name of a parameter -> the plain model's; None for factors and for PEFT's copies of original modules."""
    if ".lora_" in name or ".original_module." in name:
        return None
    name = name.removeprefix("base_model.model.")
    return name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")


def _head_modules(model: PreTrainedModel) -> list[str]:
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def _norms(model: PreTrainedModel) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
