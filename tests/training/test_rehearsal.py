"""Values that the Trainer would refuse: said before the data is read, the model loaded or a file written."""

from pathlib import Path

import pytest
from transformers.integrations import integration_utils

from longspan.errors import InputError
from longspan.training.finetune import preparation
from longspan.training.finetune.finetune import finetune
from longspan.training.finetune.preparation import make_finetune_arguments
from longspan.training.pretrain import preparation as pretrain_preparation
from longspan.training.pretrain.pretrain import pretrain
from longspan.training.run.folder import RunFolder


@pytest.fixture
def nothing_is_opened(monkeypatch):
    def fail(*_, **__):
        pytest.fail("a file was opened")

    monkeypatch.setattr(preparation, "read_questions", fail)
    monkeypatch.setattr(preparation, "build_model", fail)
    monkeypatch.setattr(pretrain_preparation, "build_masked_lm", fail)
    monkeypatch.setattr(pretrain_preparation, "load_corpora", fail)


EVALUATED = {"eval_data": "squad", "eval_strategy": "steps", "eval_steps": 2}
REFUSED = [
    ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0; it must be at least 1"),
    ({"per_device_eval_batch_size": 0}, "per_device_eval_batch_size is 0; it must be at least 1"),
    ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0; it must be at least 1"),
    ({"dataloader_num_workers": -1}, "dataloader_num_workers is -1; it must be at least 0"),
    ({"dataloader_num_workers": 1, "dataloader_prefetch_factor": 0}, "dataloader_prefetch_factor is 0; it must be"),
    ({"dataloader_num_workers": 1, "dataloader_multiprocessing_context": "thread"}, "context is 'thread'"),
    ({"learning_rate": -1}, r"learning_rate is -1\.0; it must be at least 0"),
    ({"learning_rate": float("nan")}, "learning_rate is nan; it must be a finite number"),
    ({"seed": 2**32}, "seed is 4294967296; it must be from 0 to 4294967295"),
    ({"save_total_limit": -1}, "save_total_limit is -1; it must be at least 0; null keeps all"),
    ({"logging_steps": -1}, r"logging_steps is -1\.0; it must be above 0; logging_strategy: no"),
    ({**EVALUATED, "eval_steps": -2}, r"eval_steps is -2\.0; it must be at least 0"),
    ({"max_steps": 0}, "max_steps is 0, which trains nothing"),
    ({"max_steps": -1, "num_train_epochs": 0}, r"num_train_epochs is 0\.0, which trains nothing"),
    ({"adam_beta1": 1}, r"adam_beta1 is 1\.0: Invalid beta parameter"),
    ({"optim": "adamw_8bit"}, "optim is 'adamw_8bit': .*bitsandbytes"),
    ({"optim": "galore_adamw", "optim_target_modules": "query"}, "optim is 'galore_adamw'.*galore"),
    ({"optim_args": "nonsense"}, "optim_args is 'nonsense'"),
    ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type is 'cosine_with_min_lr': .*min_lr"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, "lr_scheduler_type is 'warmup_stable_decay': .*num_decay_steps"),
    ({"lr_scheduler_kwargs": {"power": 2}}, "lr_scheduler_kwargs is .*unexpected keyword argument 'power'"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "requires an eval strategy"),
    ({"report_to": "nonsense"}, "report_to is 'nonsense': nonsense is not supported, only"),
    ({"log_level": "loud"}, "log_level is 'loud'; it must be one of detail, debug"),
    ({"save_strategy": "best"}, "save_strategy is best, but nothing is evaluated"),
    ({"save_strategy": "best", **EVALUATED}, "save_strategy is best; set metric_for_best_model to one of loss"),
    ({"load_best_model_at_end": True}, "requires the save and eval strategy to match"),
    ({"load_best_model_at_end": True, "save_strategy": "no"}, "load_best_model_at_end is true, but nothing is eval"),
    ({"metric_for_best_model": "accuracy", **EVALUATED}, "metric_for_best_model is accuracy; an evaluation measures"),
    ({"eval_on_start": True}, "eval_on_start is true but there is no eval_data"),
    ({"accelerator_config": {"nonsense": 1}}, "unexpected keyword argument 'nonsense'"),
    ({"accelerator_config": "nothing.json"}, "No such file or directory: 'nothing.json'"),
    ({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"nonsense": 1}}, "checkpointing_kwargs is"),
    ({"torch_compile_backend": "nonsense"}, "torch_compile_backend is 'nonsense': .*DynamoBackend"),
    ({"use_liger_kernel": True}, "use_liger_kernel needs the package liger-kernel"),
    ({"push_to_hub": True}, "push_to_hub needs"),
    ({"fsdp": "full_shard"}, "start it with torchrun, or remove fsdp"),
    ({"deepspeed": {"train_batch_size": 1}}, "deepspeed"),
    ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is of no effect on question answering"),
    ({"max_tokens": 192, "attention_window": 7}, "attention_window is 7: .*even"),
    ({"max_length": 40, "overlap": 40}, r"overlap is 40; it must be less than max_length \(40\)"),
]


@pytest.mark.parametrize(
    ("fields", "message"), REFUSED, ids=lambda part: " ".join(part) if isinstance(part, dict) else ""
)
def test_refused_before_any_file_is_opened(fields, message, tiny_recipe, nothing_is_opened):
    with pytest.raises(InputError, match=message):
        finetune(tiny_recipe(**fields))


def test_a_recipe_made_in_python_is_checked(tiny_recipe, nothing_is_opened):
    recipe = tiny_recipe()
    with pytest.raises(InputError, match="tiny: max_steps is 0, which trains nothing"):
        finetune(recipe.model_copy(update={"training": recipe.training | {"max_steps": 0}}))


def test_a_tracker_that_is_not_installed(tiny_recipe, nothing_is_opened, monkeypatch, tmp_path):
    monkeypatch.setattr(integration_utils, "is_wandb_available", lambda: False)
    with pytest.raises(InputError, match=r"tiny: report_to is .*WandbCallback requires wandb to be installed"):
        finetune(tiny_recipe(report_to=["tensorboard", "wandb"]))
    assert not (tmp_path / "run").exists()


def test_an_adapter_without_its_package(tiny_recipe, nothing_is_opened, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(InputError, match=r"adapter_rank needs the package peft; install longspan\[peft\]"):
        finetune(tiny_recipe(adapter_rank=2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"optim": "adamw_8bit"}, "optim is 'adamw_8bit'"),
        ({"max_steps": None, "num_train_epochs": 0}, "which trains nothing"),
        ({"eval_on_start": True}, "eval_on_start is true but there is no eval_data"),
        ({"attention_window": [16, 0]}, r"attention_window is \[16, 0\]"),
        ({"fsdp": "full_shard"}, "start it with torchrun"),
    ],
)
def test_a_pretraining_is_refused_before_it_begins(fields, message, tiny_pretrain, nothing_is_opened):
    with pytest.raises(InputError, match=message):
        pretrain(tiny_pretrain(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"optim": "sgd", "lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}},
        {"save_steps": -1, "save_total_limit": 0, "max_grad_norm": -1, "warmup_steps": 1000},
        {"logging_strategy": "no", "logging_steps": 0, "eval_steps": -1},
        {"num_train_epochs": 0, "max_steps": 2},
        {"max_grad_norm": float("inf"), "neftune_noise_alpha": 5, "optim_target_modules": "query"},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 2, "accelerator_config": {"even_batches": False}},
        {**EVALUATED, "save_strategy": "best", "metric_for_best_model": "eval_f1"},
        {**EVALUATED, "train_sampling_strategy": "group_by_length", "full_determinism": True, "torch_compile": True},
    ],
    ids=" ".join,
)
def test_what_the_trainer_takes_is_taken(fields, tiny_recipe):
    recipe = tiny_recipe(**fields)
    arguments = make_finetune_arguments(recipe, RunFolder(recipe))
    assert arguments.output_dir == str(Path(recipe.output_dir) / "checkpoints")
    assert not Path(recipe.output_dir).exists()
    for name, value in fields.items():
        if name.startswith(("max_", "torch_compile", "full_", "train_", "save_t")):
            assert getattr(arguments, name) == value


def test_a_training_without_a_step_leaves_no_model(tiny_recipe):
    recipe = tiny_recipe(dataloader_drop_last=True, per_device_train_batch_size=500)
    with pytest.raises(InputError, match="the training made no step"):
        finetune(recipe)
    assert not (Path(recipe.output_dir) / "config.json").exists()
