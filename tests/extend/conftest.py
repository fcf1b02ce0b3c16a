"""Tiny random encoders of every family, and a small tokenizer."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from longspan import records
from longspan.extend.families import FAMILIES
from longspan.extend.texts import packaged_texts
from longspan.models.heads import HEADS

OLD_MAX_TOKENS = 40


def _make_model(
    model_type: str, kind: str = "base", *, class_name: str | None = None, **changes: Any
) -> PreTrainedModel:
    """A model whose every parameter is random, biases and norms too, so that none can be lost unnoticed."""
    family = next(family for family in FAMILIES if family.model_type == model_type)
    config_class = getattr(transformers, f"{family.class_prefix}Config")
    reserved = changes.get("pad_token_id", 1) + 1 if family.reserves_rows else 0
    values: dict[str, Any] = {
        "vocab_size": 400,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": OLD_MAX_TOKENS + reserved,
        "layer_norm_eps": 1e-5,
        "num_labels": 2 if kind == "question_answering" else 3,
    }
    if model_type == "distilbert":
        values = {**values, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps"):
            del values[name]
    if model_type == "electra":
        values["embedding_size"] = 32
    config = config_class(**{**values, **changes})
    torch.manual_seed(1)
    name = class_name or family.class_prefix + HEADS[kind].class_ending  # pyright: ignore[reportArgumentType]
    model = getattr(transformers, name)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.3, 0.3) if parameter.dim() == 1 else parameter.normal_(0, 0.3)
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., PreTrainedModel]:
    """`make_model(model_type, kind)`, with changes to the configuration by name; 40 tokens."""
    return _make_model


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs learned from the packaged texts; ids below 400, RoBERTa's special ids."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    latin = [text for text in packaged_texts() if "the " in text or " und " in text]
    backend.train_from_iterator(latin, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.enable_truncation(OLD_MAX_TOKENS)  # as some tokenizer.json files do
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=OLD_MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture
def saved(tmp_path, tokenizer) -> Callable[..., Any]:
    """Saves a tiny model with its tokenizer, and returns the folder."""

    def save(model: PreTrainedModel, name: str = "source") -> Any:
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture(autouse=True, scope="session")
def one_commit() -> Iterator[None]:
    """Every proof asks git which commit it was made from; here once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "running_commit", lambda: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def quiet_transformers() -> Iterator[None]:
    """transformers reports each loading and saving on stderr."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.set_verbosity(before)
    transformers.logging.enable_progress_bar()
