"""Kill a pre-training run repeatedly with SIGKILL, half of the times while it saves, and compare its losses.

  python benchmarks/kill_pretraining.py --kills 20 --output benchmarks/results/DATE-kill-pretraining.json

A tiny model is trained twice with one recipe: once without interruption, and once killed at random moments and started
again until it ends. The losses of all steps must agree to 1e-6. The record is that of the killed run. It counts the
kills, and those while a checkpoint was written.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from longspan.records import TrainingRecord, read_record, write_record
from longspan.training.pretrain.pretrain import pretrain
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.files import load_recipe

TOLERANCE = 1e-6


def make_inputs(folder: Path) -> None:
    """Write a text, and a random model of about 100,000 parameters with a tokenizer for that text."""
    people, towns = ["Anna", "Boris", "Clara", "David"], ["Lund", "Graz", "Oslo", "Pisa", "Bern"]
    draw = random.Random(0)
    paragraphs = [
        f"{draw.choice(people)} was born in {draw.choice(towns)} in {1900 + i % 99} and wrote {i} books about bees."
        for i in range(400)
    ]
    (folder / "text.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    backend.train_from_iterator(
        paragraphs, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>",
    ).save_pretrained(folder / "model")  # fmt: skip
    torch.manual_seed(0)
    config = transformers.XLMRobertaConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder / "model")


def recipe_in(folder: Path, output: str, n_steps: int) -> PretrainRecipe:
    """Write the recipe of one run with its own folder."""
    text = [{"path": str(folder / "text.txt"), "name": "text.txt", "documents": "blank_line"}]
    fields = {
        "task": "masked_lm", "name": "killed", "model": str(folder / "model"), "train_data": text,
        "held_out": 0.3, "eval_lengths": [96], "output_dir": str(folder / output), "cache_dir": str(folder / "cache"),
        "n_processes": 1, "resume_from_checkpoint": True, "max_tokens": 96, "attention_window": 32, "proof": "none",
        "max_steps": n_steps, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "save_steps": 2,
        "save_total_limit": 3, "logging_steps": 3, "learning_rate": 1e-3, "lr_scheduler_type": "polynomial",
        "lr_scheduler_kwargs": {"power": 3.0}, "warmup_steps": 5, "seed": 11, "use_cpu": True, "report_to": "none",
        "disable_tqdm": True,
    }  # fmt: skip
    path = folder / f"{output}.yaml"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return load_recipe(path, kind=PretrainRecipe)


class Moment(NamedTuple):
    """When to kill: CPU seconds after the start or after the first save; while it saves, or at any time."""

    seconds: float
    from_start: bool
    while_saving: bool


def run_until(recipe: PretrainRecipe, moment: Moment | None) -> tuple[bool, bool]:
    """Run `recipe` in a separate process until it ends or is killed; returns (was killed, was saving)."""
    checkpoints = Path(recipe.output_dir) / "checkpoints"
    saving = checkpoints / ".saving"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pretrain(recipe)
            code = 0
        finally:
            os._exit(code)
    began = 0.0 if moment is None or moment.from_start else None
    before = _changed(checkpoints)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise SystemExit(f"the run ended by itself with status {status}")
            return False, False
        now = _cpu_seconds(child)
        if began is None and _changed(checkpoints) != before and saving.exists():
            began = now  # it trains and is writing a checkpoint
        if moment is not None and began is not None and now - began >= moment.seconds:
            is_saving = saving.exists()
            if is_saving or not moment.while_saving:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return True, is_saving
        time.sleep(0.0005)


def _cpu_seconds(process: int) -> float:
    """The CPU seconds of a process, which other processes do not affect."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def draw_moment(k: int, longest: float) -> Moment:
    """The moment of kill `k`: every fourth is counted from the start, every second one is while saving."""
    return Moment(random.random() * longest, k % 4 == 0, k % 2 == 1)


def _changed(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.exists() else 0


def main() -> int:
    """Kill the run, compare the losses, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds of computing until a kill, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=Path, required=True, help="where the record goes")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    torch.set_num_threads(1)  # a forked child has no threads
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        run_until(recipe_in(folder, "whole", arguments.steps), None)
        recipe = recipe_in(folder, "killed", arguments.steps)
        n_kills = n_saving = 0
        while n_kills < arguments.kills:
            was_killed, was_saving = run_until(recipe, draw_moment(n_kills, arguments.longest))
            if not was_killed:
                raise SystemExit(f"the run ended after {n_kills} kills; give more --steps")
            n_kills, n_saving = n_kills + 1, n_saving + was_saving
            print(f"kill {n_kills}{' (saving)' if was_saving else ''}, {_newest(recipe)}")
        run_until(recipe, None)
        whole, killed = (_record(folder / output) for output in ("whole", "killed"))
        differences = [
            abs(one.values["loss"] - other.values["loss"])
            for one, other in zip(whole.steps, killed.steps, strict=True)
            if "loss" in one.values
        ]
        n_different = sum(difference > TOLERANCE for difference in differences)
        print(f"{len(differences)} logged losses, the largest difference {max(differences):.1e}, {n_different} differ")
        counts = {
            "kills": n_kills,
            "kills_while_saving": n_saving,
            "losses_compared": len(differences),
            "losses_that_differ": n_different,
        }
        write_record(
            killed.model_copy(
                update={
                    "name": f"pre-training killed {n_kills} times",
                    "counts": killed.counts | counts,
                    "made": killed.made.model_copy(update={"command": _command(arguments)}),
                    "recipe": killed.recipe
                    | {"train_data": ["text.txt"]}
                    | {k: Path(killed.recipe[k]).name for k in _PATHS},
                }
            ),
            arguments.output,
        )
    return 1 if n_different else 0


def _command(arguments: argparse.Namespace) -> str:
    """The command line, with the name of the output file only."""
    told = {name: getattr(arguments, name) for name in ("kills", "steps", "longest", "seed")}
    options = " ".join(f"--{name} {value}" for name, value in told.items())
    return f"python benchmarks/kill_pretraining.py {options} --output {arguments.output.name}"


_PATHS = {"cache_dir", "model", "output_dir"}


def _record(folder: Path) -> TrainingRecord:
    record = read_record(folder / "training.json")
    assert isinstance(record, TrainingRecord), "pretrain writes one"
    return record


def _newest(recipe: PretrainRecipe) -> str:
    names = [path.name for path in (Path(recipe.output_dir) / "checkpoints").glob("checkpoint-*")]
    return f"newest {max(names, key=lambda name: int(name.split('-')[1]))}" if names else "no checkpoint yet"


if __name__ == "__main__":
    sys.exit(main())
