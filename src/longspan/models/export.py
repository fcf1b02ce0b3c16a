"""Export of a trained model as one file that runs without longspan: ONNX, or torch's exported program.

The graph holds for every batch and every length within its bounds. Its attention is `chunked`. The number of global
tokens is computed when the graph runs, so that a question of any length is global, as in the model.

B batch rows  T tokens
"""

import importlib.util
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from longspan.errors import InputError
from longspan.files import replace_directory, require_writable_directory
from longspan.full_disk import DeferredErrorFile
from longspan.models.agreement import require_agreement
from longspan.models.checkpoints import (
    explain_loading,
    quiet_loading,
    require_loaded,
    require_tokenizer,
)
from longspan.models.config import LongformerConfig
from longspan.models.find_checkpoint import find_checkpoint
from longspan.models.heads import HEADS, head_of, head_of_class
from longspan.models.model import LongformerModel, LongformerPreTrainedModel
from longspan.models.tracing import Outputs, Traced, trace_model

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2"}
OPSET = 20
# The largest allowed difference between graph and model in float32, relative for values above 1.
TOLERANCE = 1e-3
_BATCHES, _LENGTHS = (1, 3), (17, 512, 1000)


class Exported(NamedTuple):
    """The result of `export_model`.

    Attributes:
        folder: folder with the graph, config.json, export.json and the tokenizer.
        file: name of the graph's file.
        inputs: names of the inputs, each int64 [batch, tokens] (multiple choice: [batch, choices, tokens]).
        outputs: names of the outputs.
        min_tokens: length of the shortest input.
        max_tokens: length of the longest input.
        largest_difference: largest difference from the model's outputs on several batches; None if the graph was not
            run, because onnxruntime is not installed.
    """

    folder: Path
    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    min_tokens: int
    max_tokens: int
    largest_difference: float | None


def export_model(
    model: LongformerPreTrainedModel,
    destination: str | Path,
    *,
    format: str = "onnx",
    tokenizer: PreTrainedTokenizerBase | None = None,
    max_tokens: int | None = None,
    opset: int | None = None,
    with_global_mask: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Export a model of longspan to a folder, after a comparison of the graph with the model.

    The folder is written completely or not at all.

    Args:
        model: a model in float32; it is not changed.
        destination: the folder to make.
        format: "onnx" (`model.onnx`, needs the extra `longspan[onnx]`) or "torch" (`model.pt2`, for
            `torch.export.load`).
        tokenizer: tokenizer to save in the folder.
        max_tokens: longest input of the graph; None for the longest of the model.
        opset: ONNX opset; None for 20.
        with_global_mask: whether the graph takes `global_attention_mask`, which then replaces the choice of the task
            head.
        overwrite: whether the folder may hold files, which are deleted.

    Returns:
        Where the graph is, its inputs, outputs and bounds, and its difference from the model.

    Raises:
        InputError: the model is not one of longspan or not in float32, the tokenizer is of another model, the format is
            unknown, `max_tokens` is more than the model takes, a library is not installed, the opset cannot be written
            or is given for torch's format, the graph differs from the model, or the folder cannot be written.
    """
    if head_of(model) is None:
        raise InputError(
            f"export takes one of {', '.join(head.class_name for head in HEADS.values())}, not {type(model).__name__}"
        )
    if format not in FORMATS:
        raise InputError(f"the format is one of {', '.join(FORMATS)}, not {format!r}")
    if model.dtype != torch.float32:
        raise InputError(f"export takes a model in float32, not {model.dtype}; load it with dtype=torch.float32")
    if format == "onnx":
        _require_installed("onnxscript")
        opset = OPSET if opset is None else opset
        _require_opset(opset)
    elif opset is not None:
        raise InputError(f"opset {opset} is of no effect with the format {format}; leave it out, or choose onnx")
    if tokenizer is not None:
        require_agreement(model.name_or_path or type(model).__name__, model, tokenizer)
    require_writable_directory(destination, overwrite=overwrite)
    with _ready(model):
        traced = trace_model(model, max_tokens=max_tokens, with_global_mask=with_global_mask)
        with replace_directory(destination, overwrite=overwrite) as folder:
            path = folder / FORMATS[format]
            if opset is not None:
                _save_onnx(traced, path, opset)
                _require_written(path, opset)
            else:
                with DeferredErrorFile(path) as file:
                    torch.export.save(traced.program, cast(IO[bytes], file))
            difference = _largest_difference(model, traced, path)
            if difference is not None and not difference <= TOLERANCE:
                raise InputError(
                    f"the graph differs from the model by {difference:.1e}, more than {TOLERANCE:.0e}: nothing was "
                    "saved; try another opset, or report it with the versions of torch and onnxruntime"
                )
            exported = Exported(
                Path(destination),
                path.name,
                traced.inputs,
                traced.outputs,
                traced.min_tokens,
                traced.max_tokens,
                difference,
            )
            model.config.save_pretrained(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            about = exported._asdict() | {"model": type(model).__name__, "torch": torch.__version__}
            if opset is not None:
                about["opset"] = opset
            del about["folder"]
            (folder / "export.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return exported


def load_model(name_or_path: str | Path) -> tuple[LongformerPreTrainedModel, PreTrainedTokenizerBase | None]:
    """Load a Longformer checkpoint of longspan or transformers in float32, with the head that its configuration names.

    Returns:
        The model in evaluation mode, and its tokenizer, or None if the folder has none.

    Raises:
        InputError: there is no such folder or name, it is damaged, or its family or head is unknown.
    """
    name = find_checkpoint(name_or_path, allow_pickle=False)
    folder = Path(name)
    with explain_loading(name):
        config = AutoConfig.from_pretrained(name)
    if config.model_type != "longformer":
        raise InputError(f"{name} is of the family {config.model_type}; make it a Longformer with `longspan extend`")
    named = next(iter(config.architectures or []), "LongformerModel")
    head = head_of_class(named)
    if head is None:
        raise InputError(f"{name} is a {named}; export knows {', '.join(head.class_name for head in HEADS.values())}")
    with explain_loading(name), quiet_loading():
        model, info = head.load().from_pretrained(
            name,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    require_loaded(name, named, info)
    if isinstance(model, LongformerModel) and any("pooler." in key for key in info["missing_keys"]):
        model.pooler = None
    tokenizer = None
    if not folder.exists() or (folder / "tokenizer_config.json").is_file() or (folder / "tokenizer.json").is_file():
        with explain_loading(name, "the tokenizer of "):
            tokenizer = AutoTokenizer.from_pretrained(name)
        require_tokenizer(name, tokenizer)
    return model.eval(), tokenizer


@contextmanager
def _ready(model: LongformerPreTrainedModel) -> Iterator[None]:
    """A context with the model in evaluation mode, without gradients, and with backend "auto"; restored afterwards."""
    config: LongformerConfig = model.config
    was_training, backend = model.training, config.attention_backend
    model.eval()
    config.attention_backend = "auto"
    try:
        with torch.no_grad():
            yield
    finally:
        config.attention_backend = backend
        model.train(was_training)


def _require_installed(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise InputError(f"ONNX needs {name}; install it with: pip install 'longspan[onnx]'")


def supported_opsets() -> range:
    """The opsets that the installed exporter writes: torch's operators are of the lowest, onnxscript converts them."""
    import onnx
    from onnxscript.version_converter import _version_converter as converter

    newest = getattr(converter, "SUPPORTED_MAX_ONNX_OPSET", onnx.defs.onnx_opset_version())
    return range(getattr(converter, "SUPPORTED_MIN_ONNX_OPSET", 18), newest + 1)


def _require_opset(opset: int) -> None:
    known = supported_opsets()
    if opset not in known:
        raise InputError(
            f"opset is {opset}; the installed onnxscript writes {known[0]} to {known[-1]}: choose one of these"
        )


def _require_written(path: Path, opset: int) -> None:
    """Refuse a graph of another opset than was asked for: where the exporter cannot convert one, it only warns."""
    import onnx

    written = [entry.version for entry in onnx.load(path, load_external_data=False).opset_import if not entry.domain]
    if written != [opset]:
        raise InputError(
            f"opset is {opset}, but the exporter can write this model as {', '.join(map(str, written))} only: ask for "
            "that one; nothing was saved"
        )


def _save_onnx(traced: Traced, path: Path, opset: int) -> None:
    with warnings.catch_warnings():
        # Inputs share axes on purpose, and torch's exporter calls deprecated functions.
        warnings.filterwarnings("ignore", message=r".*The axis name", category=UserWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        program = torch.onnx.export(
            traced.program,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=list(traced.inputs),
            output_names=list(traced.outputs),
            dynamic_shapes=traced.axes,
        )
    assert program is not None, "with dynamo=True a program is returned"
    program.save(path)


def _largest_difference(model: LongformerPreTrainedModel, traced: Traced, path: Path) -> float | None:
    """The largest difference between the saved graph and the model over several lengths and padded batches."""
    if path.suffix == ".onnx":
        if importlib.util.find_spec("onnxruntime") is None:
            return None
        import onnxruntime

        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no class in common
            raise InputError(
                f"onnxruntime {onnxruntime.__version__} cannot open the graph ({error}): nothing was saved; try "
                "another opset or a newer onnxruntime"
            ) from error

        def run(inputs: dict[str, Tensor]) -> list[Tensor]:
            found = session.run(list(traced.outputs), {name: x.numpy() for name, x in inputs.items()})
            return [torch.from_numpy(x) for x in found]
    else:
        loaded = torch.export.load(path).module()

        def run(inputs: dict[str, Tensor]) -> list[Tensor]:
            return list(loaded(**inputs))

    lengths = sorted({min(max(length, traced.min_tokens), traced.max_tokens) for length in (*_LENGTHS, 4096)})
    own = Outputs(model, traced.outputs)
    worst = 0.0
    for seed, n_tokens in enumerate(lengths):
        inputs = _random_inputs(model.config, traced, _BATCHES[seed % 2 == 0], n_tokens, seed)
        for expected, found in zip(own(**inputs), run(inputs), strict=True):
            difference = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
            worst = difference if not difference <= worst else worst  # NaN stays
    return worst


def _random_inputs(
    config: transformers.LongformerConfig, traced: Traced, n_rows: int, n_tokens: int, seed: int
) -> dict[str, Tensor]:
    """Random rows with separators at different places and different padding on the right."""
    draw = torch.Generator().manual_seed(seed)
    has_choices = len(traced.axes["input_ids"]) == 3
    n_texts = n_rows * 2 if has_choices else n_rows
    padding_id = config.pad_token_id or 0
    ids_BT = torch.randint(0, config.vocab_size - 1, (n_texts, n_tokens), generator=draw)
    ids_BT = ids_BT + (ids_BT >= padding_id)
    is_token_BT = torch.ones(n_texts, n_tokens, dtype=torch.bool)
    for row in range(n_texts):
        length = n_tokens - row * n_tokens // (2 * n_texts)
        is_token_BT[row, length:] = False
        if config.sep_token_id is not None:
            ids_BT[row, [min(length - 1, 4 + 5 * row), length - 1]] = config.sep_token_id
    inputs = {
        "input_ids": ids_BT.masked_fill(~is_token_BT, padding_id),
        "attention_mask": is_token_BT.long(),
        "token_type_ids": torch.zeros_like(ids_BT),
        "global_attention_mask": (torch.rand(n_texts, n_tokens, generator=draw) < 0.02).long(),
    }
    made = {name: inputs[name] for name in traced.inputs}
    return {name: x.unflatten(0, (n_rows, 2)) for name, x in made.items()} if has_choices else made
