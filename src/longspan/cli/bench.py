"""Measure attention beside its peers in one run, or explain which backend would be chosen.

longspan bench attention                     time and memory of ours, transformers' Longformer, SDPA full attention
longspan bench --explain --dtype bfloat16    each backend, and why or why not

Machines are noisy: read the ratios. Peers are measured in turns with ours, in the same process.
"""

import argparse

HELP = "measure attention beside its peers, or explain the choice of a backend"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("what", nargs="?", default="attention", choices=["attention"], help="what to measure")
    parser.add_argument(
        "--explain", action="store_true", help="print why each backend would be chosen or not, and stop"
    )
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024, 4096, 8192], help="tokens in a row")
    parser.add_argument("--window", type=int, default=512, help="attention window, both sides together")
    parser.add_argument("--heads", type=int, default=12, help="attention heads")
    parser.add_argument("--width", type=int, default=64, help="width per head")
    parser.add_argument("--rows", type=int, default=1, help="rows in the batch")
    parser.add_argument("--n-global", type=int, default=0, help="the first so many tokens are global")
    parser.add_argument("--dilation", type=int, default=1, help="positions per step of the window")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--backend", default="auto", help="a backend's name, or auto")
    parser.add_argument("--forward-only", action="store_true", help="leave the backward out")
    parser.add_argument("--repeats", type=int, default=5, help="measured calls of each system")
    parser.add_argument("--threads", type=int, default=0, help="threads of the CPU; 0: as many as torch takes")
    parser.add_argument("--limit-seconds", type=float, default=60.0, help="leave out what would take longer a call")
    parser.add_argument("--output", default="runs/bench-attention.json", help="record to write")


def run(arguments: argparse.Namespace) -> int:
    """Measure or explain; returns the exit code."""
    import torch
    from tqdm import tqdm

    from longspan.attention import explain
    from longspan.evaluation.benchmark.attention import AttentionSetting, benchmark_attention, check_setting
    from longspan.evaluation.benchmark.table import as_table
    from longspan.files import require_writable_file
    from longspan.records import write_record

    setting = AttentionSetting(
        lengths=tuple(arguments.lengths),
        window=arguments.window,
        heads=arguments.heads,
        width=arguments.width,
        rows=arguments.rows,
        n_global=arguments.n_global,
        dilation=arguments.dilation,
        dtype=arguments.dtype,
        device=arguments.device,
        backend=arguments.backend,
        backward=not arguments.forward_only,
        repeats=arguments.repeats,
        limit_seconds=arguments.limit_seconds,
    )
    check_setting(setting)
    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
    if arguments.explain:
        for n_tokens in setting.lengths:
            print(
                f"{setting.rows} x {setting.heads} x {n_tokens} x {setting.width}, window {setting.window},"
                f" {setting.dtype} on {setting.device}, {'with' if setting.backward else 'without'} gradients:"
            )
            print(explain(setting.request(n_tokens, setting.backward), setting.backend))
        return 0
    require_writable_file(arguments.output)
    with tqdm(desc="bench attention", unit=" cell", leave=False) as bar:
        record = benchmark_attention(setting, lambda step: (bar.set_postfix_str(step), bar.update()))
    path = write_record(record, arguments.output)
    print(as_table(record))
    print(f"\nrecord: {path}")
    return 0
