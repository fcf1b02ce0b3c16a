"""Adapters: a fine-tuned model as a few megabytes beside the base it was made from.

`load_adapter` builds the base, extends it as the adapter says, and adds the adapter to its weights: a plain model, as
fast as any. `extract_adapter` makes one from a fully fine-tuned model. longspan.training trains them.
"""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.extend import extend
from longspan.extend.families import find_family
from longspan.extend.positions import Positions
from longspan.models.agreement import max_tokens_of
from longspan.tasks import DEFAULT_TASK, find_fine_tuning_task
from longspan.tasks.adapter_files import (
    Adapter,
    AdapterDescription,
    Factors,
    has_packaged,
    is_adapter,
    lasting_name,
    packaged_folder,
    read_adapter,
    save_adapter,
)
from longspan.tasks.checkpoint import load_checkpoint
from longspan.tasks.start_model import build_start_model, is_long, with_head
from longspan.tasks.task import FineTuningTask

__all__ = [
    "Adapter",
    "AdapterDescription",
    "Factors",
    "extract_adapter",
    "has_packaged",
    "is_adapter",
    "load_adapter",
    "packaged_folder",
    "read_adapter",
    "save_adapter",
    "truncate_adapter",
]

# The largest tensor, in values, that an adapter stores whole: 4,098 position rows of 384 fit, a vocabulary does not.
_MOST_WHOLE = 1 << 22
# Number of values of each tensor in the fingerprint.
_SAMPLE = 1024


class Base(NamedTuple):
    """The base model of an adapter: extended if the adapter says so, float32, with any head.

    name: as given. max_tokens, attention_window: of the extension; None if there was none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    max_tokens: int | None
    attention_window: int | list[int] | None


def load_adapter(
    name_or_path: str | Path,
    base: str | Path | PreTrainedModel | None = None,
    *,
    task: FineTuningTask | None = None,
    dtype: torch.dtype | None = None,
    allow_pickle: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Load the fine-tuned model of an adapter: its base, extended, with the adapter added to its weights.

    Args:
        name_or_path: a folder with an adapter, or "packaged" for the one that comes with longspan.
        base: where its base model is (or the model itself); None for what the adapter says.
        task: refuse an adapter of another task; None takes any.
        dtype: of the weights; None for float32.
        allow_pickle: open a base that has only pickles; they can run any code.

    Returns:
        The model in eval mode, which shares no changed weight with `base`, and its tokenizer: None if the base has
        none beside it, such as a model object.

    Raises:
        InputError: there is no adapter, its files are damaged, its base is not found, or `base` is another model.
    """
    adapter = read_adapter(name_or_path)
    says = adapter.description
    if task is not None and task.name != says.task:
        raise InputError(f"{name_or_path} is an adapter for {says.task}, not for {task.name}; choose another one")
    wanted = says.base if base is None else base
    try:
        found = make_base(
            wanted if isinstance(wanted, PreTrainedModel) else str(wanted),
            find_fine_tuning_task(says.task),
            head_config=_as_config(says.head),
            max_tokens=says.max_tokens,
            attention_window=says.attention_window,
            positions=says.positions,
            allow_pickle=allow_pickle,
        )
    except InputError as error:
        if base is not None:
            raise
        raise InputError(
            f"{name_or_path} is an adapter for {says.base}, which cannot be loaded ({error}); write where it is now "
            "into adapter.json (`base`)"
        ) from error
    _require_base(found, adapter, str(name_or_path))
    apply_adapter(found.model, adapter)
    found.model.name_or_path = str(name_or_path)
    model: Any = found.model  # transformers' `to` hides torch's signature
    return (model if dtype is None else model.to(dtype)).eval(), found.tokenizer


def extract_adapter(
    base: str | Path | PreTrainedModel,
    tuned: str | Path | PreTrainedModel,
    rank: int,
    *,
    position_rank: int | None = None,
    positions: Positions = "copy",
    task: FineTuningTask | None = None,
) -> Adapter:
    """Make the best approximation of a fully fine-tuned model by an adapter: a truncated SVD of every change.

    The factors are the best of their rank in the squared norm (Eckart and Young 1936). LayerNorms, biases, the head and
    position rows are stored whole. `description.kept` says how much of each matrix's change the factors hold.

    Args:
        base: what `tuned` was fine-tuned from; extended as `tuned` is, if `tuned` is a Longformer and this is not.
        tuned: the fine-tuned model, with the task's head.
        rank: of the factors; a small matrix has at most its own.
        position_rank: store the change of the position rows as factors of this rank instead of whole.
        positions: how the extension filled `tuned`'s position rows before it was trained.
        task: of `tuned`; None for the default task.

    Raises:
        InputError: `tuned` was not made from `base`, or its word embeddings changed, which no adapter can hold.
    """
    if rank < 1 or (position_rank is not None and position_rank < 1):
        raise InputError(f"the rank is {min(rank, position_rank or rank)}; it must be at least 1")
    task = find_fine_tuning_task(DEFAULT_TASK) if task is None else task
    model = tuned if isinstance(tuned, PreTrainedModel) else build_start_model(str(tuned), task, load_with_head).model
    head = head_of_config(model.config, task)
    found = base_like(
        base if isinstance(base, PreTrainedModel) else str(base), model, task, head_config=head, positions=positions
    )
    largest = max(min(found.model.get_parameter(name).shape) for name in encoder_maps(found.model))
    rank = min(rank, largest)
    changed = find_changes(found.model, model)
    factors: dict[str, Factors] = {}
    kept: dict[str, float] = {}
    tables = set()
    for name in changed.maps:
        factors[name], kept[name] = low_rank(_change(found.model, model, name), rank)
    whole = dict(changed.whole)
    if position_rank is not None:
        for name in [name for name in whole if name.endswith("position_embeddings.weight")]:
            del whole[name]
            factors[name], kept[name] = low_rank(_change(found.model, model, name), position_rank)
            tables.add(name)
    description = describe(found, task, head, positions=positions, rank=rank, alpha=rank)
    description = description.model_copy(update={"kept": kept})
    return Adapter(description, factors, whole, frozenset(tables))


def truncate_adapter(adapter: Adapter, rank: int) -> Adapter:
    """Cut an adapter of `extract_adapter` to a lower rank; equal to extracting it with that rank.

    Raises:
        InputError: its factors are not in the order of singular values (a trained adapter's are not).
    """
    if adapter.factors.keys() != adapter.description.kept.keys():
        raise InputError("only an adapter that was extracted from a whole fine-tuning can be cut to a lower rank")
    factors: dict[str, Factors] = {}
    kept: dict[str, float] = {}
    for name, (a, b) in adapter.factors.items():
        own = a.shape[0] if name in adapter.embeddings else min(rank, a.shape[0])
        # A row of `a` is sqrt(s) times a unit vector.
        squares = a.double().square().sum(1).square()
        share = float(squares[:own].sum() / squares.sum()) if squares.any() else 1.0
        factors[name], kept[name] = Factors(a[:own], b[:, :own]), adapter.description.kept[name] * share
    description = adapter.description.model_copy(update={"rank": rank, "alpha": float(rank), "kept": kept})
    return Adapter(description, factors, adapter.whole, adapter.embeddings)


def make_base(
    name_or_model: str | PreTrainedModel,
    task: FineTuningTask,
    *,
    head_config: Mapping[str, Any] | None = None,
    max_tokens: int | None,
    attention_window: int | list[int] | None,
    positions: Positions,
    allow_pickle: bool = False,
) -> Base:
    """Load a base, and extend it to `max_tokens` unless that is None.

    Raises:
        InputError: it cannot be loaded or extended.
    """
    windows = 512 if attention_window is None else attention_window
    if isinstance(name_or_model, PreTrainedModel):
        source = name_or_model
        if any(parameter.dtype != torch.float32 for parameter in source.parameters()):
            source = copy.deepcopy(source).float()  # the caller's is not changed
        if max_tokens is not None and not is_long(source):
            source = extend(
                source, max_tokens=max_tokens, attention_window=windows, positions=positions, proof="none"
            ).model
        name = name_or_model.name_or_path or type(name_or_model).__name__
        return Base(with_head(source, task, head_config), None, name, max_tokens, attention_window)
    model, tokenizer, _ = build_start_model(
        name_or_model,
        task,
        load_with_head,
        head_config=head_config,
        max_tokens=max_tokens,
        attention_window=windows,
        positions=positions,
        allow_pickle=allow_pickle,
    )
    return Base(model, tokenizer, name_or_model, max_tokens, attention_window)


def base_like(
    name_or_model: str | PreTrainedModel,
    tuned: PreTrainedModel,
    task: FineTuningTask,
    *,
    head_config: Mapping[str, Any] | None = None,
    positions: Positions,
    allow_pickle: bool = False,
) -> Base:
    """Load a base, and extend it to the length and window of `tuned` if `tuned` is a Longformer and the base is not.

    Raises:
        InputError: it cannot be loaded or extended.
    """
    base = make_base(
        name_or_model,
        task,
        head_config=head_config,
        max_tokens=None,
        attention_window=None,
        positions=positions,
        allow_pickle=allow_pickle,
    )
    if is_long(base.model) or not is_long(tuned):
        return base
    config: Any = tuned.config
    if not find_family(base.model.config, needs_padding=False).reserves_rows:
        # A tokenizer chose the padding id; a base that is given as an object has none.
        base.model.config.pad_token_id = config.pad_token_id
    windows = config.attention_window
    if not isinstance(windows, int) and len(set(windows)) == 1:
        windows = windows[0]
    extension: dict[str, Any] = {"max_tokens": max_tokens_of(tuned), "attention_window": windows}
    long = make_base(base.model, task, head_config=head_config, **extension, positions=positions)
    return long._replace(tokenizer=base.tokenizer, name=base.name)


def head_of_config(config: Any, task: FineTuningTask) -> dict[str, Any]:
    """Return what a model's configuration says of the task's head: the keys that the task gives a fresh one."""
    return {key: getattr(config, key) for key in task.head_keys if getattr(config, key, None) is not None}


def _as_config(head: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the head of an adapter's description as a configuration has it: JSON writes numbers of labels as text."""
    if not head:
        return None
    labels = head.get("id2label")
    return {**head, **({} if labels is None else {"id2label": {int(i): label for i, label in labels.items()}})}


def load_with_head(
    name: str, task: FineTuningTask, *, dtype: torch.dtype | str = "auto", allow_pickle: bool = False, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint with the task's head, or an adapter on its base.

    Raises:
        InputError: as `load_checkpoint` or `load_adapter`, or the adapter's base has no tokenizer.
    """
    if not is_adapter(name):
        return load_checkpoint(name, task, dtype=dtype, allow_pickle=allow_pickle, **options)
    weights = None if isinstance(dtype, str) else dtype
    model, tokenizer = load_adapter(name, task=task, dtype=weights, allow_pickle=allow_pickle)
    if tokenizer is None:
        raise InputError(f"the base of {name} has no tokenizer; save its tokenizer beside it (tokenizer.json)")
    return model, tokenizer


def describe(
    base: Base,
    task: FineTuningTask,
    head_config: Mapping[str, Any] | None,
    *,
    positions: Positions,
    rank: int,
    alpha: float,
) -> AdapterDescription:
    """Return the description of an adapter for `base`."""
    return AdapterDescription(
        task=task.name,
        head=dict(head_config or {}),
        base=lasting_name(base.name),
        max_tokens=base.max_tokens,
        attention_window=base.attention_window,
        positions=positions,
        rank=rank,
        alpha=alpha,
        fingerprint=fingerprint(base.model),
    )


def encoder_maps(model: PreTrainedModel) -> list[str]:
    """Names of the weights of all linear maps of the encoder, which may get low-rank factors."""
    prefix = model.base_model_prefix + "."
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefix) and ".pooler." not in name
    ]


class Changes(NamedTuple):
    """The differences of a model from its base: names of linear maps, other parameters with their new values."""

    maps: list[str]
    whole: dict[str, Tensor]


def find_changes(base: PreTrainedModel, tuned: PreTrainedModel) -> Changes:
    """Find the parameters that differ; those of the head always count.

    Raises:
        InputError: `tuned` was not made from `base`, or a large table changed.
    """
    before, after = base.state_dict(), tuned.state_dict()
    of_maps = set(encoder_maps(base))
    prefix = base.base_model_prefix + "."
    for name in [*before, *after]:
        shapes = [tuple(state[name].shape) if name in state else None for state in (before, after)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{_title(tuned)} was not made from {_title(base)}: {name} has shape {shapes[1]} in the one and "
                f"{shapes[0]} in the other (None: it is not there); give the base it was fine-tuned from"
            )
    maps, whole = [], {}
    for name, tensor in after.items():
        if name.startswith(prefix) and torch.equal(tensor.float(), before[name].float()):
            continue
        if name in of_maps:
            maps.append(name)
        elif tensor.numel() > _MOST_WHOLE:
            raise InputError(
                f"{name} changed, {tensor.numel() / 1e6:.0f} million values, too many for an adapter; fine-tune "
                f"with freeze: {name.split('.')[-2]}"
            )
        else:
            whole[name] = tensor.detach().float()
    return Changes(maps, whole)


def low_rank(change: Tensor, rank: int) -> tuple[Factors, float]:
    """The best factors of at most `rank` of a matrix, and the share of its squared norm that they hold."""
    u, s, v = torch.linalg.svd(change.float(), full_matrices=False)
    root = s[:rank].sqrt()
    total = float(s.square().sum())
    kept = float(s[:rank].square().sum()) / total if total else 1.0
    return Factors(root[:, None] * v[:rank], u[:, :rank] * root), kept


def apply_adapter(model: PreTrainedModel, adapter: Adapter) -> None:
    """Add the adapter to the weights of `model`, in float32. Shared tensors are copied before they change."""
    with torch.no_grad():
        for name, (a, b) in adapter.factors.items():
            parameter = model.get_parameter(name)
            parameter.data = parameter.data.float() + adapter.scale * (b @ a).to(parameter.device)
        for name, tensor in adapter.whole.items():
            parameter = model.get_parameter(name)
            parameter.data = tensor.to(parameter.device)


def fingerprint(model: PreTrainedModel) -> str:
    """Hash the names, shapes and evenly spaced values of the encoder's weights, in float32, without the head."""
    digest = hashlib.sha256()
    prefix = model.base_model_prefix + "."
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(prefix):
            flat = tensor.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLE)].to("cpu", torch.float32)
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def _require_base(base: Base, adapter: Adapter, name: str) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in base.model.state_dict().items()}
    wanted = {key: (factors.b.shape[0], factors.a.shape[1]) for key, factors in adapter.factors.items()}
    wanted |= {key: tuple(tensor.shape) for key, tensor in adapter.whole.items()}
    says = adapter.description
    is_for = f"{name} is an adapter for {says.base}"
    for key, shape in wanted.items():
        if shapes.get(key) != shape:
            there = f"has shape {shapes[key]} there and {shape} here" if key in shapes else "is not there"
            raise InputError(f"{is_for}, not for {base.name}: {key} {there}; give the base it was made for")
    found = fingerprint(base.model)
    if found != says.fingerprint:
        raise InputError(
            f"{is_for}, and {base.name} has other weights (fingerprint {found[:12]}, not {says.fingerprint[:12]}); "
            "give the very base it was made for"
        )


def _change(base: PreTrainedModel, tuned: PreTrainedModel, name: str) -> Tensor:
    return (tuned.get_parameter(name).float() - base.get_parameter(name).float()).detach()


def _title(model: PreTrainedModel) -> str:
    return model.name_or_path or type(model).__name__
