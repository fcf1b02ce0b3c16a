"""One graph of a model for every batch and all lengths: `torch.export`, and what goes in and comes out."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from longspan.errors import InputError
from longspan.models.config import LongformerConfig, attention_patterns
from longspan.models.heads.masked_lm import LongformerForMaskedLM
from longspan.models.heads.multiple_choice import LongformerForMultipleChoice
from longspan.models.heads.question_answering import LongformerForQuestionAnswering
from longspan.models.heads.sequence_classification import LongformerForSequenceClassification
from longspan.models.heads.token_classification import LongformerForTokenClassification
from longspan.models.model import LongformerModel, LongformerPreTrainedModel

OUTPUTS: dict[type[LongformerPreTrainedModel], tuple[str, ...]] = {
    LongformerModel: ("last_hidden_state", "pooler_output"),
    LongformerForMaskedLM: ("logits",),
    LongformerForMultipleChoice: ("logits",),
    LongformerForQuestionAnswering: ("start_logits", "end_logits"),
    LongformerForSequenceClassification: ("logits",),
    LongformerForTokenClassification: ("logits",),
}


class Traced(NamedTuple):
    """A model's graph, what goes in and comes out, and its bounds on the length."""

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: dict[str, dict[int, str]]
    min_tokens: int
    max_tokens: int


def trace_model(
    model: LongformerPreTrainedModel, *, max_tokens: int | None = None, with_global_mask: bool = False
) -> Traced:
    """`torch.export` of a model in evaluation mode, for every batch and all lengths from `min_tokens` to `max_tokens`.

    Raises:
        InputError: `max_tokens` is more than the model takes, or too few.
    """
    config: LongformerConfig = model.config
    longest = config.max_position_embeddings - (config.pad_token_id or 0) - 1
    max_tokens = longest if max_tokens is None else max_tokens
    n_global = max((pattern.n_global for pattern in attention_patterns(config)), default=0)
    min_tokens = max(3, n_global + 1)
    if not 2 * min_tokens <= max_tokens <= longest:
        raise InputError(f"max_tokens must be from {2 * min_tokens} to the model's {longest:,}, not {max_tokens}")
    names = ["input_ids", "attention_mask"]
    if config.type_vocab_size > 1:
        names.append("token_type_ids")
    if with_global_mask:
        names.append("global_attention_mask")
    is_choice = isinstance(model, LongformerForMultipleChoice)
    axis_names: tuple[str, ...] = ("batch", "choices", "tokens") if is_choice else ("batch", "tokens")
    dims = {
        "batch": torch.export.Dim("batch"),
        "choices": torch.export.Dim("choices"),
        "tokens": torch.export.Dim("tokens", min=min_tokens, max=max_tokens),
    }
    # Sizes unlike each other, so that tracing takes none for another.
    example = {"batch": 2, "choices": 5, "tokens": min(max_tokens, 307)}
    shape = tuple(example[axis] for axis in axis_names)
    ones = torch.ones(shape, dtype=torch.int64)
    outputs = OUTPUTS[type(model)]
    if isinstance(model, LongformerModel) and model.pooler is None:
        outputs = outputs[:1]
    program = torch.export.export(
        Outputs(model, outputs).eval(),
        (),
        {name: ones.clone() for name in names},
        dynamic_shapes={name: {i: dims[axis] for i, axis in enumerate(axis_names)} for name in names},
        strict=False,
    )
    axes: dict[str, dict[int, str]] = {name: dict(enumerate(axis_names)) for name in names}
    return Traced(program, tuple(names), outputs, axes, min_tokens, max_tokens)


class Outputs(nn.Module):
    """A model that gives a plain tuple, and takes its inputs by name."""

    def __init__(self, model: LongformerPreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The outputs of these names."""
        found = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            global_attention_mask=global_attention_mask,
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        return tuple(found[name] for name in self.names)
