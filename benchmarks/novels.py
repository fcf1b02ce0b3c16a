"""Pre-training runs on novels: initial position rows, languages, positions only; one record each (novels.md).

Example:
  python benchmarks/novels.py
  python benchmarks/novels.py --only copy random --threads 1
  python benchmarks/novels.py --frequencies    # record the score of token frequencies alone
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from longspan.data.corpora import load_corpus
from longspan.errors import InputError
from longspan.extend.families import find_family
from longspan.models import LongformerForMaskedLM
from longspan.records import BenchmarkRecord, made_now, write_record
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.files import load_recipe

sys.path.insert(0, str(Path(__file__).parent))
from runs import RESULTS, newest

SHORT = Path("runs/novels-short")
ENGLISH = [{"path": "novels/train/en/*.txt", "language": "en", "name": "en", "documents": "file"}]
# The fields of each run beside recipes/novels-long.yaml. "positions" gets as many minutes as "copy" took.
RUNS: dict[str, dict[str, str]] = {
    "copy": {},
    "random": {"positions": "random"},
    "interpolate": {"positions": "interpolate"},
    "longer": {"learning_rate": "5.0e-5", "max_steps": "72", "warmup_steps": "6"},
    "english": {"train_data": json.dumps(ENGLISH)},
    "positions": {
        "trained": "positions", "freeze": "[]", "learning_rate": "3.0e-4", "max_steps": "1000",
        "lr_scheduler_type": "constant_with_warmup",
    },
}  # fmt: skip


def main() -> int:
    """Make the records that do not exist; the exit code is 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["short", *RUNS], help="these runs")
    parser.add_argument("--cache_dir", default="cache", help="of tokenised text")
    parser.add_argument("--threads", type=int, help="of each run")
    parser.add_argument("--frequencies", action="store_true", help="record the bits of token frequencies, no run")
    arguments = parser.parse_args()
    if arguments.frequencies:
        bits = frequencies(arguments.cache_dir)
        print(", ".join(f"{language} {value:.2f}" for language, value in bits.items()), "bits per token")
        settings = {"bits_per_token": bits}
        record = BenchmarkRecord(
            made=made_now(command="python benchmarks/novels.py --frequencies"),
            name="novels-frequencies",
            settings=settings,
            timings=[],
        )
        write_record(record, _result("frequencies"))
        return 0
    failed = 0
    for name in ["short", *RUNS]:
        if arguments.only and name not in arguments.only:
            continue
        # The repository has records but no models: a run that is named is made if its model is missing.
        is_here = not arguments.only or Path(f"runs/novels-{name}/config.json").exists()
        if (newest(f"novels-{name}") is None or not is_here) and not _make(name, arguments):
            print(f"novels-{name} failed", file=sys.stderr)
            failed += 1
        elif name == "short" and (SHORT / "config.json").exists():
            _shorten_once()
    return min(failed, 1)


def _make(name: str, arguments: argparse.Namespace) -> bool:
    fields = {"name": f"novels-{name}", "output_dir": f"runs/novels-{name}", "cache_dir": arguments.cache_dir}
    recipe = "novels-short" if name == "short" else "novels-long"
    if name != "short":
        if not (SHORT / "config.json").exists():
            print(f"{SHORT}: not here; make it first, with --only short {name}", file=sys.stderr)
            return False
        _shorten_once()
        fields |= RUNS[name]
    if name == "positions":
        fields["max_minutes"] = f"{_seconds('copy') / 60:.2f}"
    command = [str(Path(sys.executable).with_name("longspan")), "pretrain", recipe]
    command += [word for key, value in fields.items() for word in (f"--{key}", value)]
    environment = dict(os.environ)
    if arguments.threads:
        environment["OMP_NUM_THREADS"] = str(arguments.threads)
    print("longspan", *command[1:], flush=True)
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        print(f"ended with {code}", file=sys.stderr)
        return False
    shutil.copy(Path(fields["output_dir"]) / "training.json", _result(name))
    return True


def _shorten_once() -> None:
    if not (SHORT / "bert" / "config.json").exists():
        shorten(SHORT, SHORT / "bert")


def _result(name: str) -> Path:
    return RESULTS / f"{datetime.datetime.now(datetime.UTC).date().isoformat()}-novels-{name}.json"


def frequencies(cache_dir: str) -> dict[str, float]:
    """Language -> bits per token of its held-out novel, under the frequencies of its training novels' tokens.

    Every token of the vocabulary counts once more than it was seen (Laplace). A model that has learnt to use no
    context scores no better.
    """
    recipe = load_recipe("novels-short", kind=PretrainRecipe)
    tokenizer = AutoTokenizer.from_pretrained(SHORT)
    counts = []
    for sources in (recipe.train_data, recipe.eval_data):
        corpora = [load_corpus([source], tokenizer, cache_dir=cache_dir, progress=False) for source in sources]
        stores = [corpus.sources[0].store for corpus in corpora]
        counts.append([np.bincount(s.ids(0, int(s.document_starts[-1])), minlength=len(tokenizer)) for s in stores])
    result = {}
    for source, seen, asked in zip(recipe.eval_data, *counts, strict=True):
        bits = -np.log2((seen + 1) / (seen + 1).sum())
        result[str(source["language"])] = float(asked @ bits / asked.sum())
    return result


def _seconds(name: str) -> float:
    path = newest(f"novels-{name}")
    if path is None:
        raise InputError(f"novels-{name} has no record yet; run it first (--only {name})")
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def shorten(source: Path, destination: Path) -> None:
    """Write the Longformer in `source`, cut to its original length, as the BERT that it was extended from."""
    long = LongformerForMaskedLM.from_pretrained(source, dtype=torch.float32)
    n_reserved = long.config.pad_token_id + 1
    kept = {key: value for key, value in long.config.to_dict().items() if key in BertConfig().to_dict()}
    for key in ("model_type", "architectures", "transformers_version"):
        kept.pop(key, None)
    config = BertConfig(**kept | {"max_position_embeddings": long.config.max_position_embeddings - n_reserved})
    names = find_family(config).names("masked_lm")
    state = {}
    for name, value in long.state_dict().items():
        if "_global." in name or name == "lm_head.decoder.bias":
            continue
        their_name = names.from_longformer(name)
        is_position = name.endswith("position_embeddings.weight")
        state[their_name] = value[n_reserved:].clone() if is_position else value
    short = BertForMaskedLM(config)
    missing, unexpected = short.load_state_dict(state, strict=False)
    missing = [
        name for name in missing if name not in {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    ]
    assert not missing and not unexpected, (missing, unexpected)
    short.tie_weights()
    tokenizer = AutoTokenizer.from_pretrained(source)
    ids = torch.tensor([tokenizer("Det var en gång en liten by vid havet.")["input_ids"]])
    with torch.no_grad():
        error = (short.eval()(ids).logits - long.eval()(ids).logits).abs().max().item()
    assert error < 1e-3, f"the short model's scores differ by {error}"
    short.save_pretrained(destination)
    tokenizer.save_pretrained(destination)


if __name__ == "__main__":
    sys.exit(main())
