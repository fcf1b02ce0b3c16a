"""Stands for the process of a line in tests of grids: makes the record that the real one would, in a blink.

It fills in records that the test prepared, and imports nothing that takes time. The environment says which lines fail,
are killed or hang: FAIL, DIE and HANG are words that the command contains.
"""

import importlib.util
import json
import os
import shlex
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path


def main() -> int:
    parent, verb, *words = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("child", os.environ["CHILD"])
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)
    child.end_with(int(parent))
    command = shlex.join(["longspan", verb, *words])
    os.write(1, f"busy: {command}\n".encode())
    if (mark := os.environ.get("FAIL")) and mark in command:
        os.write(2, f"tokenise:  50%|##  |longspan {verb}: {mark} is not to be\n".encode())
        return 2
    if (mark := os.environ.get("DIE")) and mark in command:
        os.kill(os.getpid(), signal.SIGKILL)
    hangs = bool((mark := os.environ.get("HANG")) and mark in command)
    record = json.loads(Path(f"{verb}.template").read_text())
    record["made"] |= {"command": command, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    path = evaluate(record, words) if verb == "evaluate" else train(record, words, hangs)
    path.write_text(json.dumps(record))
    return 0


def train(record, words, hangs):
    lines = Path(words[0]).read_text(encoding="utf-8").splitlines()[1:]
    recipe = dict(line.split(": ", 1) for line in lines if ": " in line)
    model = Path(recipe["output_dir"])
    checkpoint = model / "checkpoints" / "checkpoint-1"
    record["counts"] = {"went_on": int(checkpoint.is_dir())}
    checkpoint.mkdir(parents=True, exist_ok=True)
    if hangs:
        (checkpoint / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    (model / "config.json").write_text("{}")
    return model / "training.json"


def evaluate(record, words):
    def value(name):
        return words[words.index(name) + 1]

    output, seed = Path(value("--output")), int(value("--training_seed"))
    assert (Path(words[0]) / "config.json").is_file(), "the model is there"
    assert "--overwrite" in words or not (output / "evaluation.json").exists()
    record |= {"run": value("--run"), "training_seed": seed}
    for score, bonus in zip(record["scores"], (2, 0), strict=True):
        score["metrics"]["f1"] = float(seed + bonus)
    output.mkdir(parents=True, exist_ok=True)
    return output / "evaluation.json"


if __name__ == "__main__":
    sys.exit(main())
