"""Write a model as one file that runs without longspan: ONNX, or torch's own exported program.

Example:
  longspan export runs/squad-e5-long qa-onnx
  longspan export runs/classifier classifier-torch --format torch --max_tokens 4096

The graph accepts any batch and any length up to its maximum. It is compared with the model before it is saved.
"""

import argparse

from longspan.number_options import at_least

HELP = "write a model as ONNX or as torch's exported program"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments, named like those of `longspan.models.export.export_model`."""
    parser.add_argument("model", help="a folder with a Longformer checkpoint or an adapter, or a name on the hub")
    parser.add_argument("destination", help="the folder to write")
    parser.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="what to write")
    parser.add_argument(
        "--max_tokens", type=int, action=at_least(1), help="longest input of the graph (the model's own by default)"
    )
    parser.add_argument("--opset", type=int, action=at_least(1), help="ONNX opset; 20 by default")
    parser.add_argument(
        "--with_global_mask",
        action="store_true",
        help="take global_attention_mask as an input, instead of the task head's choice",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what the destination holds")


def run(arguments: argparse.Namespace) -> int:
    """Load, trace, compare, save."""
    from longspan.files import require_writable_directory
    from longspan.models.agreement import settle
    from longspan.models.export import export_model, load_model
    from longspan.tasks.adapter_files import is_adapter
    from longspan.tasks.adapters import load_adapter

    require_writable_directory(arguments.destination, overwrite=arguments.overwrite)
    load = load_adapter if is_adapter(arguments.model) else load_model
    model, tokenizer = load(arguments.model)
    if tokenizer is not None:
        settle(arguments.model, model, tokenizer)
    exported = export_model(
        model,  # pyright: ignore[reportArgumentType] - an adapter's base may be of any family, which it refuses
        arguments.destination,
        format=arguments.format,
        tokenizer=tokenizer,
        max_tokens=arguments.max_tokens,
        opset=arguments.opset,
        with_global_mask=arguments.with_global_mask,
        overwrite=arguments.overwrite,
    )
    print(f"{type(model).__name__}: {', '.join(exported.inputs)} -> {', '.join(exported.outputs)}")
    print(f"any batch, {exported.min_tokens:,} to {exported.max_tokens:,} tokens")
    if exported.largest_difference is None:
        print("not tried: onnxruntime is not installed (pip install onnxruntime)")
    else:
        print(f"largest difference from the model: {exported.largest_difference:.1e}")
    beside = "config.json, export.json" + ("" if tokenizer is None else ", tokenizer")
    print(f"saved in {exported.folder} ({exported.file}, {beside})")
    return 0
