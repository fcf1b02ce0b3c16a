import pytest

from longspan.cli.main import main


@pytest.fixture
def recipe(tmp_path, tiny_squad, tiny_qa_folder):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"model: {tiny_qa_folder('bert')}\ntrain_data: {tiny_squad}\noutput_dir: {tmp_path / 'run'}\n"
        "max_steps: 2\nlogging_steps: 1\nuse_cpu: true\ndisable_tqdm: true\nreport_to: none\n"
    )
    return str(path)


def test_a_run_and_its_answer(recipe, tmp_path, capsys):
    assert main(["finetune", recipe, "--max_steps", "1", "--learning_rate=1e-3"]) == 0
    out = capsys.readouterr().out
    assert "24 questions" in out
    assert f"longspan predict {tmp_path / 'run'}" in out
    assert (tmp_path / "run/model.safetensors").is_file()


def test_a_second_run_in_the_same_folder_is_refused(recipe, capsys):
    assert main(["finetune", recipe]) == 0
    assert main(["finetune", recipe]) == 2
    assert "--overwrite_output_dir" in capsys.readouterr().err
    assert main(["finetune", recipe, "--overwrite_output_dir"]) == 0
    assert main(["finetune", recipe, "--resume_from_checkpoint", "true"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learnig_rate", "1"], "did you mean learning_rate"),
        (["--learning_rate", "fast"], "must be a number"),
        (["--train_data", "./nowhere.json"], "nowhere.json"),
        (["--model", "./nowhere"], "no such folder"),
        (["--max_length", "4096"], "max_length is 4096 but the model takes 64"),
        (["--max_length", "8"], "leaves no room"),
        (["--max_tokens", "32"], "below the 64 tokens"),
        (["--max_tokens", "128", "--attention_window", "7"], "even"),
        (["--eval_strategy", "steps"], "no eval_data"),
        (["--remove_unused_columns"], "must be False"),
        (["--freeze", "nothing_like_it"], "no parameter"),
        (["--train_sampling_strategy", "batch_rebalance"], "group_by_length"),
        (["--load_best_model_at_end"], "load_best_model_at_end"),
    ],
)
def test_mistakes_end_with_code_2_before_anything_is_written(recipe, tmp_path, capsys, words, message):
    assert main(["finetune", recipe, *words]) == 2
    error = capsys.readouterr().err
    assert "longspan finetune:" in error
    assert message in error
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_there(capsys):
    assert main(["finetune", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: no such recipe" in capsys.readouterr().err
