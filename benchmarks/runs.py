"""The benchmark runs behind the bars (name -> arguments of `longspan bench`), and a command that makes their records.

A record is `benchmarks/results/DATE-NAME.json`. An existing record is not made again, so that an interrupted command
resumes where it stopped.

Example:
  python benchmarks/runs.py cpu               # about 25 minutes on two idle cores
  python benchmarks/runs.py gpu --minutes 7   # at most about 8 minutes on an H100 or H200
  python benchmarks/tables.py && python benchmarks/pictures.py
"""

import argparse
import datetime
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

CPU = {
    "attention-lengths-cpu": "attention --lengths 512 1024 2048 4096 8192 16384 32768 --repeats 5 --seconds 10",
    "attention-scaling-cpu": "attention --lengths 4096 65536 --systems chosen --repeats 5 --seconds 25",
    "attention-dilation-cpu": "attention --lengths 4096 --dilation 1 2 4 1,2,4 --systems chosen --repeats 9",
    "attention-bf16-cpu": "attention --lengths 1024 4096 --dtype float32 bfloat16 --systems chosen SDPA"
    " --repeats 7 --seconds 10",
    "encoder-short-cpu": "encoder --lengths 40 --batch 8 --repeats 15 --seconds 15",
    "encoder-one-short-cpu": "encoder --lengths 40 --repeats 15 --seconds 10",
    "encoder-4096-cpu": "encoder --lengths 4096 --dtype float32 bfloat16 --repeats 3 --seconds 30",
    "encoder-padded-cpu": "encoder --padded 4096,512x7 --systems longspan --repeats 3 --seconds 60",
    "training-step-cpu": "training-step --lengths 2048 --repeats 2 --seconds 120",
    "training-step-4096-cpu": "training-step --lengths 4096 --systems longspan --optimizer adamw"
    " --gradient_checkpointing --repeats 1 --seconds 240",
}

_GPU = "--device cuda --dtype bfloat16"
# Our backends that need no compilation for each length, which takes longer than all measurements.
_KERNELS = "'longspan triton' 'longspan flash'"
GPU = {
    # 65,536 tokens each. Runs with bars come first, in case time runs out.
    "attention-4096-gpu": f"attention {_GPU} --batch 16 --lengths 4096 --repeats 20 --seconds 5",
    "attention-16384-gpu": f"attention {_GPU} --batch 4 --lengths 16384 --repeats 20 --seconds 5",
    "attention-65536-gpu": f"attention {_GPU} --batch 1 --lengths 65536 --systems chosen {_KERNELS} SDPA"
    " --repeats 10 --seconds 5",
    "attention-dilation-gpu": f"attention {_GPU} --batch 16 --lengths 4096 --dilation 1 2 4 1,2,4"
    " --systems chosen --repeats 10 --seconds 5",
    "encoder-gpu": f"encoder {_GPU} --batch 8 --lengths 512 4096 8192 --repeats 10 --seconds 5",
    "encoder-padded-gpu": f"encoder {_GPU} --padded 4096,512x7 --repeats 10 --seconds 5",
    "training-step-gpu": f"training-step {_GPU} --batch 8 --lengths 4096 --optimizer adamw --repeats 5 --seconds 10",
    "attention-lengths-gpu": f"attention {_GPU} --lengths 512 1024 4096 16384 32768"
    f" --systems chosen {_KERNELS} transformers SDPA FlexAttention flash-attn NATTEN --repeats 10 --seconds 3",
}


def newest(name: str) -> Path | None:
    """The newest record of a run, by the date in its file name; None if there is none."""
    found = sorted(RESULTS.glob(f"????-??-??-{name}.json"))
    return found[-1] if found else None


def main() -> int:
    """Make the records that do not exist yet; the exit code is 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=["cpu", "gpu"], help="which runs to make")
    parser.add_argument("--date", default=datetime.datetime.now(datetime.UTC).date().isoformat(), help="in the names")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="runs whose names start with NAME")
    parser.add_argument("--again", action="store_true", help="replace existing records")
    parser.add_argument("--minutes", type=float, help="start no run later than this")
    parser.add_argument("--dry", action="store_true", help="print the commands only")
    parser.add_argument("more", nargs="*", help="after --, more arguments for each run, to try it: -- --size tiny")
    arguments = parser.parse_args()
    begin, failed = time.monotonic(), []
    for name, text in {"cpu": CPU, "gpu": GPU}[arguments.device].items():
        if arguments.only and not name.startswith(tuple(arguments.only)):
            continue
        path = arguments.results / f"{arguments.date}-{name}.json"
        if path.exists() and not arguments.again:
            print(f"{name}: exists already, {path}")
            continue
        minutes = (time.monotonic() - begin) / 60
        if arguments.minutes is not None and minutes > arguments.minutes:
            print(f"{name}: not started after {minutes:.1f} minutes")
            continue
        shown = os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
        bench = ["bench", *shlex.split(text), *arguments.more, "--output", shown]
        print(f"\n## {name} ({minutes:.1f} min): longspan {shlex.join(bench)}", flush=True)
        if not arguments.dry:
            # A separate process, so that no run affects another; the record holds the command.
            command = Path(sys.executable).with_name("longspan")
            start = [str(command)] if command.exists() else [sys.executable, "-m", "longspan.cli.main"]
            if subprocess.run([*start, *bench], cwd=ROOT, check=False).returncode:
                failed.append(name)
    print(f"\n{(time.monotonic() - begin) / 60:.1f} minutes" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
