"""`torch.export` of a model as one graph for every batch and all lengths, with the names of inputs and outputs."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from longspan.errors import InputError
from longspan.models.config import LongformerConfig, attention_patterns
from longspan.models.heads import head_of
from longspan.models.model import LongformerModel, LongformerPreTrainedModel


class Traced(NamedTuple):
    """The graph of a model.

    Attributes:
        program: the exported program.
        inputs: names of the inputs.
        outputs: names of the outputs.
        axes: names of the axes of each input, by their number.
        min_tokens: shortest input.
        max_tokens: longest input.
    """

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: dict[str, dict[int, str]]
    min_tokens: int
    max_tokens: int


def trace_model(
    model: LongformerPreTrainedModel, *, max_tokens: int | None = None, with_global_mask: bool = False
) -> Traced:
    """The graph of a model in evaluation mode, for every batch and all lengths up to `max_tokens`.

    Args:
        model: a model of the table of heads.
        max_tokens: longest input; None for the longest that the model takes.
        with_global_mask: whether `global_attention_mask` is an input.

    Raises:
        InputError: `max_tokens` is more than the model takes, or too few.
    """
    head = head_of(model)
    assert head is not None, "export_model checks it"
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
    axis_names = head.axes
    dims = {
        "batch": torch.export.Dim("batch"),
        "choices": torch.export.Dim("choices"),
        "tokens": torch.export.Dim("tokens", min=min_tokens, max=max_tokens),
    }
    # Different sizes, so that tracing does not treat two axes as equal.
    example = {"batch": 2, "choices": 5, "tokens": min(max_tokens, 307)}
    shape = tuple(example[axis] for axis in axis_names)
    ones = torch.ones(shape, dtype=torch.int64)
    outputs = head.outputs
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
    """A model that takes its inputs by name and returns a tuple of the named outputs."""

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
        """The named outputs."""
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
