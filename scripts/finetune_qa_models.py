#!/usr/bin/env python
r"""The thesis's fine-tuning script: its command lines, flag by flag, on longspan.

  python scripts/finetune_qa_models.py --model_name_or_path xlm-roberta-base --output_dir models/xlmr-on-xquad \
      --dataset xquad --seed 42 --num_train_epochs 3 --learning_rate 3e-5 ... --do_train --do_eval --max_length 512

Trains on SQuAD, plain or long, and evaluates on SQuAD and the data set that is named. Flags that transformers has
renamed are mapped; what has no effect, here or there, is taken and said. Every field of a recipe can be given too;
`--train_data FILE --eval_data FILE ...` takes the place of the sets that --dataset names. `--plan` prints the recipe
and the evaluation that a command line stands for, and runs nothing. The whole grid at once: `longspan run thesis`.
"""

import argparse
import difflib
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from longspan.errors import InputError
from longspan.training.recipe.fields import FinetuneRecipe
from longspan.training.recipe.files import parse_recipe

# XQuAD as it was then, without Romanian; MLQA with questions in the language of the text.
XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA = ("ar", "de", "en", "es", "hi", "vi", "zh")
TYDIQA = ("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te")

# What the thesis's script did without a flag that says so.
DEFAULTS = {"name": "finetune_qa_models", "max_length": 512, "weight_decay": 0.0}
DATASETS = ("squad", "squad_long", "xquad", "xquad_long", "mlqa", "tydiqa", "trivia_qa")
LONG = ("squad_long", "xquad_long")

# Models of the thesis's lines whose authors published pickles; safetensors are preferred where there are some.
PICKLED = ("allenai/longformer-base-4096",)

# Flags of the original that are taken, and why they change nothing.
WITHOUT_EFFECT = {
    "attention_window": "it had none in the original; a model is extended with --max_tokens",
    "cache_dir": "the libraries' own cache is used (HF_HOME)",
    "data_dir": "windows are not kept in files; --train_data and --eval_data name your own data",
    "do_lowercase": "the tokenizers of RoBERTa and XLM-R do not know it, then as now: case is kept",
    "doc_stride": "it had none in the original; --overlap says how far windows of a document overlap",
    "eval_all_checkpoints": "it had none in the original",
    "lang_id": "it had none in the original",
    "local_rank": "torchrun says it",
    "max_seq_length": "it had none in the original; --max_length counts",
    "prediction_loss_only": "evaluation gives the loss and the scores",
    "verbose_logging": "it had none in the original",
}
logger = logging.getLogger("finetune_qa_models")


class Plan(NamedTuple):
    """What a command line stands for.

    evaluation: words after `longspan evaluate`; None without --do_eval. notes: where it is not what it was.
    """

    recipe: FinetuneRecipe
    trains: bool
    evaluation: list[str] | None
    notes: list[str]


def plan_of(words: Sequence[str]) -> Plan:
    """The recipe and the evaluation that a command line of the thesis stands for.

    Raises:
        InputError: a flag is unknown or has a wrong value, or the data set is none that it knows.
    """
    ours, rest = _parser().parse_known_args(words)
    if "--max_tokens" in rest and ours.attention_window is not None:
        rest += ["--attention_window", ours.attention_window]
        ours.attention_window = None
    if ours.dataset not in DATASETS:
        near = difflib.get_close_matches(ours.dataset, DATASETS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(DATASETS)}"
        raise InputError(f"--dataset {ours.dataset}: there is no such data set; {hint}")
    notes = [f"--{name} has no effect: {why}" for name, why in WITHOUT_EFFECT.items() if _is_given(ours, name)]
    fields, data = _data(ours, notes)
    if not any(word in {"--model_name", "--name"} for word in rest):
        fields["name"] = Path(_value_of("--output_dir", rest) or DEFAULTS["name"]).name
    model = _value_of("--model_name_or_path", rest)
    if model in PICKLED and not any(word.startswith(("--allow_pickle", "--no_allow_pickle")) for word in rest):
        fields["allow_pickle"] = True
        notes.append(f"{model} is opened also where there are only pickles of it, as its authors published it")
    recipe = parse_recipe(rest, kind=FinetuneRecipe, defaults=DEFAULTS | fields)
    training = dict(recipe.training)
    trains, evaluates = bool(training.pop("do_train", False)), bool(training.pop("do_eval", False))
    if not trains and not evaluates:
        raise InputError("nothing to do; add --do_train, --do_eval or both")
    update: dict[str, Any] = {"training": training}
    if training.get("fp16") and not _has_gpu():
        del training["fp16"]
        update["precision"] = "auto"
        notes.append(
            "--fp16 is left out: half precision needs a GPU; without one it is bfloat16 where the processor computes "
            "it fast, else float32"
        )
    recipe = recipe.model_copy(update=update)
    if trains and Path(recipe.model).is_dir():
        notes.append("the original also looked for an optimiser's state in the model's folder; here the weights count")
    return Plan(recipe, trains, _evaluation(recipe, trains, data, ours) if evaluates else None, notes)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="finetune_qa_models.py", add_help=False, allow_abbrev=False)
    # argparse let the thesis's lines abbreviate --datasets.
    parser.add_argument("--dataset", "--datasets", required=True)
    parser.add_argument("--nr_concats", type=int)
    parser.add_argument("--train_data", nargs="+")
    parser.add_argument("--eval_data", nargs="+")
    parser.add_argument("--train_file_path", dest="train_file")
    parser.add_argument("--valid_file_path", dest="valid_file")
    switches = {"do_lowercase", "eval_all_checkpoints", "prediction_loss_only", "verbose_logging"}
    for name in WITHOUT_EFFECT:
        if name in switches:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def _is_given(ours: argparse.Namespace, name: str) -> bool:
    return getattr(ours, name) not in (None, False)


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    """The value of `--flag value` or `--flag=value`."""
    for place, word in enumerate(words):
        if word.startswith(flag + "="):
            return word.partition("=")[2]
        if word == flag and place + 1 < len(words):
            return words[place + 1]
    return None


def _data(ours: argparse.Namespace, notes: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The recipe's fields that say what is read, and the data of the evaluation."""
    for name in ("train_file", "valid_file"):
        file = getattr(ours, name)
        if file is not None and file.endswith(".pt"):
            notes.append(f"--{name}_path {file} has no effect: windows are not kept in files")
            setattr(ours, name, None)
    train = ours.train_data or (ours.train_file and [ours.train_file])
    evaluation = ours.eval_data or (ours.valid_file and [ours.valid_file])
    is_long = ours.dataset in LONG
    # The original's default, and what its long sets are called after.
    n_concat = (ours.nr_concats or 3) if is_long else ours.nr_concats
    if n_concat is not None and n_concat < 1:
        raise InputError(f"--nr_concats is {n_concat}; it must be at least 1")
    notes += _notes_on_data(ours, n_concat)
    if train or evaluation:
        if not (train and evaluation):
            raise InputError("--train_data and --eval_data come together, in place of the sets that --dataset names")
        joined = {"n_concat": n_concat} if n_concat else {}
        return {"train_data": train, "eval_data": evaluation} | joined, evaluation
    if ours.dataset == "trivia_qa":
        if n_concat:
            raise InputError("--nr_concats is for sets of short paragraphs; leave it out")
        return {"train_data": ["trivia_qa"], "eval_data": ["trivia_qa"]}, ["trivia_qa"]
    # A name that says how many paragraphs are joined, wherever they are.
    long = f".{n_concat}" if n_concat else ""
    squad = f"squad_long{long}" if long else "squad"
    xquad = [f"{'xquad_long' if ours.dataset == 'xquad_long' else 'xquad'}.{code}" for code in XQUAD]
    others = {
        "xquad": xquad,
        "xquad_long": [name + long for name in xquad],
        "mlqa": [f"mlqa.{code}.{code}.validation" for code in MLQA],
        "tydiqa": [f"tydiqa.{code}" for code in TYDIQA],
    }
    return {"train_data": [squad], "eval_data": [squad], "language": "en"}, [squad, *others.get(ours.dataset, [])]


def _notes_on_data(ours: argparse.Namespace, n_concat: int | None) -> list[str]:
    """Where the questions are not those of the original."""
    notes = [
        "documents longer than --max_length are read in overlapping windows and every question counts; the original "
        "read the beginning and dropped questions that it could not align (f1_thesis is its figure)"
    ]
    if ours.dataset in LONG:
        notes.append(
            "the first question of each paragraph, nothing joined"
            if n_concat == 1
            else f"the first question of each paragraph, {n_concat} paragraphs joined without a separator"
        )
        notes.append("the thesis's lines for 512 and 2048 tokens have one output folder: the second replaces the first")
    elif ours.dataset == "trivia_qa":
        notes.append("the original had the name, and did nothing with it")
    elif n_concat is None:
        notes.append(
            "SQuAD is read as it is; the original, as it is published, joined 3 paragraphs here too, the default of "
            "--nr_concats, and cut them off at --max_length"
        )
    else:
        notes.append(f"SQuAD's paragraphs are joined by {n_concat}, as --nr_concats says; the other languages' are not")
    if ours.dataset == "mlqa":
        notes.append("the original's log called each language by the name of the one before (Arabic was 'SQuAD')")
    if ours.dataset == "tydiqa":
        notes.append("the original had the name, and refused it")
    return notes


def _evaluation(recipe: FinetuneRecipe, trains: bool, data: list[str], ours: argparse.Namespace) -> list[str]:
    """The words of `longspan evaluate` for the model that the recipe makes, or that is there already."""
    output = Path(recipe.output_dir)
    model = recipe.output_dir if trains or (output / "config.json").is_file() else recipe.model
    words = [model, "--data", *data]
    if recipe.max_length is not None:
        words += ["--max_length", str(recipe.max_length)]
    if recipe.n_concat is not None:
        words += ["--n_concat", str(recipe.n_concat)]
    words += ["--batch_size", str(recipe.training.get("per_device_eval_batch_size", 8))]
    words += ["--training_seed", str(recipe.seed), "--output", str(output / "evaluation")]
    return [*words, "--overwrite"] if recipe.overwrite_output_dir else words


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def main(words: Sequence[str]) -> int:
    """Run, or plan; returns the exit code."""
    logging.basicConfig(format="%(name)s: %(message)s")
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        plan = plan_of([word for word in words if word != "--plan"])
        if "--plan" in words:
            _print(plan)
            return 0
        return _carry_out(plan)
    except InputError as error:
        print(f"finetune_qa_models.py: {error}", file=sys.stderr)
        return 2


def _print(plan: Plan) -> None:
    if plan.trains:
        print("# longspan finetune, with this recipe:")
        print(yaml.safe_dump({"task": "question_answering"} | plan.recipe.fields(), sort_keys=False), end="")
    if plan.evaluation is not None:
        print(f"# then:\n# longspan evaluate {shlex.join(plan.evaluation)}")
    for note in plan.notes:
        print(f"# note: {note}")


def _carry_out(plan: Plan) -> int:
    for note in plan.notes:
        logger.warning(note)
    if plan.trains:
        from longspan.training.finetune.finetune import finetune

        record = finetune(plan.recipe)
        print(
            f"{record.n_examples:,} questions, {record.n_features:,} windows, {record.seconds / 60:.1f} minutes; "
            f"model: {plan.recipe.output_dir}"
        )
    if plan.evaluation is None:
        return 0
    from longspan.cli.main import main as longspan

    return longspan(["evaluate", *plan.evaluation])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
