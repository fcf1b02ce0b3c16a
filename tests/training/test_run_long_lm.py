"""The thesis's two pre-training command lines, verbatim (but for the shell's variables), are parsed and planned."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_long_lm.py"

# The model card's, and the README's for RoBERTa; that for XLM-R differs in the model only.
MODEL_CARD = r"""
    --model_name_or_path xlm-roberta-base \
    --model_name xlm-roberta-to-longformer \
    --output_dir ./output \
    --logging_dir ./logs \
    --val_file_path $DATA_DIR/wiki.valid.raw \
    --train_file_path $DATA_DIR/wiki.train.raw \
    --seed 42 \
    --max_pos 4096 \
    --adam_epsilon 1e-8 \
    --warmup_steps 500 \
    --learning_rate 3e-5 \
    --weight_decay 0.01 \
    --max_steps 6000 \
    --evaluate_during_training \
    --logging_steps 50 \
    --eval_steps 50 \
    --save_steps 6000  \
    --max_grad_norm 1.0 \
    --per_device_eval_batch_size 2 \
    --per_device_train_batch_size 1 \
    --gradient_accumulation_steps 64 \
    --overwrite_output_dir \
    --fp16 \
    --do_train \
    --do_eval
"""
README = r"""
        --model_name_or_path $MODEL_NAME_OR_PATH \
        --model_name $MODEL_NAME \
        --output_dir $MODEL_DIR/$MODEL_NAME \
        --logging_dir $LOG_DIR/$MODEL_NAME \
        --val_file_path $DATA_DIR/wiki.valid.raw \
        --train_file_path $DATA_DIR/wiki.train.raw \
        --seed $SEED \
        --max_pos $MAX_POS \
        --adam_epsilon 1e-8 \
        --warmup_steps 500 \
        --learning_rate 3e-5 \
        --weight_decay 0.01 \
        --max_steps 6000 \
        --evaluate_during_training \
        --logging_steps 50 \
        --eval_steps 50 \
        --save_steps 500  \
        --max_grad_norm 1.0 \
        --per_device_eval_batch_size 2 \
        --per_device_train_batch_size 1 \
        --gradient_accumulation_steps 64 \
        --overwrite_output_dir \
        --fp16 \
        --do_train \
        --do_eval
"""
VARIABLES = {
    "DATA_DIR": "./wikitext-103-raw", "MODEL_NAME_OR_PATH": "roberta-base", "MODEL_NAME": "roberta-base-long",
    "MODEL_DIR": "./models", "LOG_DIR": "./logs", "SEED": "42", "MAX_POS": "4096",
}  # fmt: skip


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("run_long_lm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words_of(text):
    """As a shell splits it."""
    return re.sub(r"\$(\w+)", lambda match: VARIABLES[match[1]], text.replace("\\\n", " ")).split()


@pytest.mark.parametrize(("text", "model"), [(MODEL_CARD, "xlm-roberta-base"), (README, "roberta-base")])
def test_the_thesis_command_lines(script, text, model, tmp_path, monkeypatch, tiny_mlm_folder, capsys, caplog):
    recipe = script.recipe_of(words_of(text))
    assert recipe.model == model
    assert recipe.max_tokens == 4096 and recipe.attention_window == 512 and recipe.layout == "continuous"
    assert recipe.train_data == ["./wikitext-103-raw/wiki.train.raw"]
    assert recipe.eval_data == ["./wikitext-103-raw/wiki.valid.raw"]
    expected = {"seed": 42, "learning_rate": 3e-5, "max_steps": 6000, "warmup_steps": 500, "eval_strategy": "steps",
                "gradient_accumulation_steps": 64, "adam_epsilon": 1e-8, "weight_decay": 0.01}  # fmt: skip
    assert expected.items() <= recipe.training.items()
    assert "logging_dir has no effect: logs are in output_dir/logs" in caplog.text
    if not torch.cuda.is_available():
        assert "--fp16 is left out: half precision needs a GPU" in caplog.text
        assert "fp16" not in recipe.training and recipe.precision == "auto"

    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_mlm_folder, model)
    Path("wikitext-103-raw").mkdir()
    for name in ("train", "valid"):
        Path(f"wikitext-103-raw/wiki.{name}.raw").write_text(" = Bees = \n\n Bees fly . \n", encoding="utf-8")
    assert script.main([*words_of(text), "--plan"]) == 0
    plan = capsys.readouterr().out
    assert "6,000 steps of 64 blocks (262,144 tokens)" in plan
    assert not Path("output").exists() and not Path("models").exists()


def test_sources_may_be_json_on_a_command_line(script):
    recipe = script.recipe_of(
        ["--model", "x", "--output_dir", "y", "--train_data", '[{"path": "a.txt", "documents": "file"}, "b.txt"]']
    )
    assert recipe.train_data == [{"path": "a.txt", "documents": "file"}, "b.txt"]


def test_an_unknown_flag_is_a_users_mistake(script, capsys):
    assert script.main(["--model_name_or_path", "x", "--max_poss", "7"]) == 2
    assert "did you mean" in capsys.readouterr().err
