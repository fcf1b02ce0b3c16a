"""All of the thesis's fine-tuning command lines, verbatim, are parsed and planned; two are run at tiny size."""

import importlib.util
import re
import shlex
import shutil
import string
from pathlib import Path

import pytest
import torch
import yaml

from longspan.records import read_record

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "finetune_qa_models.py"
LINES = ROOT / "tests" / "cli" / "data" / "thesis_command_lines.txt"


def command_lines():
    """Title -> variables and words, as a shell makes them of a block."""
    found = {}
    for block in LINES.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, text = block.split("\n", 1)
        variables: dict[str, str] = {}
        for name, value in re.findall(r"^export (\w+)=(.*)$", text, re.MULTILINE):
            variables[name] = string.Template(value).substitute(variables)
        run = re.search(r'run="scripts/finetune_qa_models\.py (.*?)"', text, re.DOTALL)[1]
        found[title] = (variables, run)
    return found


def words_of(title, **changed):
    variables, run = command_lines()[title]
    return shlex.split(string.Template(run.replace("\\\n", " ")).substitute(variables | changed))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("finetune_qa_models", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_of_them_are_there():
    titles = list(command_lines())
    assert len(titles) == 21
    assert [sum(title.startswith(name + ":") for title in titles) for name in dict.fromkeys(
        title.split(":")[0] for title in titles
    )] == [5, 5, 3, 3, 2, 1, 2]  # fmt: skip


@pytest.mark.parametrize("title", command_lines())
def test_each_is_planned(script, title, capsys):
    variables, _ = command_lines()[title]
    assert script.main([*words_of(title), "--plan"]) == 0
    out = capsys.readouterr().out
    recipe = yaml.safe_load(out)
    dataset, n_concat = variables["DATASET"], variables.get("NR_CONCATS")
    is_long = n_concat == "3"
    assert recipe["model"] == variables["MODEL_NAME_OR_PATH"]
    assert recipe["output_dir"] == f"/workspace/models/{variables['MODEL_NAME']}"
    assert recipe["name"] == Path(recipe["output_dir"]).name
    squad = f"squad_long.{n_concat}" if n_concat else "squad"
    assert recipe["train_data"] == recipe["eval_data"] == [squad]
    assert recipe["max_length"] == (2048 if is_long else 512)
    expected = {"seed": 42, "learning_rate": 3e-5, "num_train_epochs": 3.0, "eval_strategy": "steps", "eval_steps": 50,
                "save_steps": 1000, "logging_steps": 50, "overwrite_output_dir": True,
                "per_device_train_batch_size": 1 if is_long else 4,
                "gradient_accumulation_steps": 32 if is_long else 8}  # fmt: skip
    assert expected.items() <= recipe.items()
    if not torch.cuda.is_available():
        assert "fp16" not in recipe and recipe["precision"] == "auto"
        assert "--fp16 is left out" in out
    (evaluation,) = re.findall(r"^# longspan evaluate (.*)$", out, re.MULTILINE)
    data = evaluation.split("--data ")[1].split(" --")[0].split()
    others = {"xquad": 11, "xquad_long": 11, "mlqa": 7}.get(dataset, 0)
    assert data[0] == squad and len(data) == 1 + others
    assert all(name.startswith(dataset.split("_")[0]) for name in data[1:])
    assert "--do_lowercase has no effect" in out and "--data_dir has no effect" in out
    assert ("joined 3 paragraphs here too" in out) == (n_concat is None)
    assert "every question counts" in out
    assert recipe.get("allow_pickle", False) == (recipe["model"] == "allenai/longformer-base-4096")


@pytest.mark.parametrize("title", ["SQuAD: RoBERTa", "XQ3 (4096): XLM-Long"])
def test_two_are_run(script, title, tiny_qa_folder, tiny_squad, tmp_path, capsys):
    is_long = "XQ3" in title
    model = str(tiny_qa_folder("xlm-roberta encoder"))
    data = [str(shutil.copy(tiny_squad, tmp_path / f"people.{language}.json")) for language in ("en", "el")]
    words = words_of(title, MODEL_DIR=str(tmp_path), MODEL_NAME="tiny", MODEL_NAME_OR_PATH=model)
    # What depends on the size of model and data; all else is the thesis's.
    words[words.index("--max_length") + 1] = "96" if is_long else "64"
    words += ["--train_data", data[0], "--eval_data", *data, "--max_eval_examples", "4", "--use_cpu", "--disable_tqdm"]
    if is_long:
        words += ["--max_tokens", "96", "--attention_window", "16", "--proof", "none"]
    assert script.main(words) == 0
    assert f"model: {tmp_path / 'tiny'}" in capsys.readouterr().out
    training = read_record(tmp_path / "tiny" / "training.json")
    assert training.recipe.get("n_concat") == (3 if is_long else None)
    assert training.made.seed == 42 and training.steps[-1].values["epoch"] == 3
    assert training.n_examples == (12 if is_long else 24)
    evaluation = read_record(tmp_path / "tiny" / "evaluation" / "evaluation.json")
    assert evaluation.training_seed == 42
    assert {(score.language, score.n_items) for score in evaluation.scores} == {
        (language, training.n_examples) for language in ("en", "el")
    }
    assert ("window + global question" in {score.system for score in evaluation.scores}) == is_long


BASE = ["--model_name_or_path", "x", "--output_dir", "y", "--do_train"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*BASE, "--dataset", "xquadd"], "did you mean xquad?"),
        ([*BASE], "required: --dataset"),
        ([*BASE, "--dataset", "squad", "--learning_rat", "1"], "did you mean learning_rate"),
        ([*BASE, "--dataset", "squad", "--nr_concats", "0"], "--nr_concats is 0"),
        ([*BASE, "--dataset", "squad", "--train_data", "a.json"], "come together"),
        (["--model_name_or_path", "x", "--output_dir", "y", "--dataset", "squad"], "nothing to do"),
        ([*BASE, "--dataset", "trivia_qa", "--nr_concats", "3"], "leave it out"),
    ],
)
def test_a_users_mistakes(script, words, message, capsys):
    assert script.main(words) == 2
    assert message in capsys.readouterr().err


def test_flags_of_the_original_that_did_nothing(script):
    plan = script.plan_of(
        [*BASE, "--datasets", "mlqa", "--do_eval", "--doc_stride", "64", "--max_seq_length", "384", "--train_file_path",
         "t.pt", "--attention_window", "512", "--model_name", "mine", "--local_rank", "-1"]
    )  # fmt: skip
    assert plan.recipe.name == "mine" and plan.recipe.overlap is None and plan.recipe.max_length == 512
    said = " ".join(plan.notes)
    for flag in ("doc_stride", "max_seq_length", "attention_window", "local_rank", "train_file_path"):
        assert f"--{flag}" in said
    assert "called each language by the name of the one before" in said
    # What is evaluated without training is what is there.
    plan = script.plan_of(["--model_name_or_path", "x", "--output_dir", "y", "--dataset", "squad", "--do_eval"])
    assert not plan.trains and plan.evaluation[0] == "x"


def test_joined_by_their_number(script):
    plan = script.plan_of([*BASE, "--dataset", "xquad_long", "--do_eval", "--nr_concats", "5"])
    assert plan.recipe.train_data == ["squad_long.5"] and "xquad_long.zh.5" in plan.evaluation
    plan = script.plan_of([*BASE, "--dataset", "xquad_long", "--do_eval"])
    assert plan.recipe.train_data == ["squad_long.3"]
    plan = script.plan_of(
        [*BASE, "--dataset", "squad_long", "--do_eval", "--train_data", "a.json", "--eval_data", "b.json"]
    )
    assert (
        plan.recipe.n_concat == 3 and plan.evaluation[1:3] == ["--data", "b.json"] and "--n_concat" in plan.evaluation
    )
