"""The run loop needs no task and no verb: a run of a model of two numbers."""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PretrainedConfig

from longspan.errors import InputError
from longspan.training.recipe.fields import Recipe
from longspan.training.recipe.trainer_arguments import make_arguments
from longspan.training.run.checkpoints import DurableTrainer
from longspan.training.run.folder import RunFolder
from longspan.training.run.loop import PreparedRun, RunResults, run_training


class TinyRecipe(Recipe):
    verb = "sum"


class TinyModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.config = PretrainedConfig(pad_token_id=0)
        self.dense = nn.Linear(1, 1)

    def forward(self, x, labels=None):
        return {"loss": self.dense(x).square().sum()}


@dataclass(frozen=True, kw_only=True, eq=False)
class TinyRun(PreparedRun[DurableTrainer]):
    events: list[Any]

    def make_trainer(self, callbacks):
        rows = [{"x": torch.tensor([float(i)])} for i in range(8)]
        return DurableTrainer(model=self.body, args=self.arguments, train_dataset=rows, callbacks=callbacks)

    def begin(self, trainer, resume_from):
        self.events.append(("begin", resume_from and resume_from.name))

    def results(self, trainer):
        self.events.append(("results", trainer.state.global_step))
        return RunResults(8, 8, "none", {"rows": 8}, {"rows_seen": 8}, [])

    def save(self, model, record, folder, title):
        self.events.append(("save", title, sorted(folder.iterdir())))
        (folder / "README.md").write_text(f"# {title}\n")


@pytest.fixture
def train(tmp_path):
    """Runs the loop; returns the record and what the loop called."""

    def run(*, identity=None, **fields):
        training = {"max_steps": 4, "save_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True} | fields
        own = {name: training.pop(name) for name in ("resume_from_checkpoint", "max_minutes") if name in training}
        recipe = TinyRecipe(name="tiny", model="none", output_dir=str(tmp_path / "run"), training=training, **own)
        folder = RunFolder(recipe)
        arguments = make_arguments(recipe, folder.checkpoints, evaluates=False, metrics=())
        events: list[Any] = []

        def prepare():
            body: Any = TinyModel()
            tokenizer: Any = SimpleNamespace()
            return TinyRun(
                recipe=recipe, arguments=arguments, body=body, tokenizer=tokenizer, proof=None,
                identity=identity or {}, data={"file": "sha"}, events=events,
            )  # fmt: skip

        return run_training(folder, arguments, prepare), events

    return run


def test_the_loop_trains_records_and_saves(train, tmp_path):
    record, events = train()
    assert events == [("begin", None), ("results", 4), ("save", "run", [])]
    assert (record.n_steps, record.counts, record.made.data) == (
        4,
        {"rows": 8, "checkpoints_not_saved": 0},
        {"file": "sha"},
    )
    assert record.recipe["rows_seen"] == 8
    assert {"README.md", "training.json", "checkpoints"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert json.loads((tmp_path / "run/training.json").read_text())["n_examples"] == 8


def test_the_loop_resumes_from_the_newest_checkpoint(train, caplog):
    train(max_steps=2)
    _, events = train(resume_from_checkpoint=True, identity={"seed": 1})
    assert events[:2] == [("begin", "checkpoint-2"), ("results", 4)]
    assert "started otherwise: seed was not set, is 1" in caplog.text


def test_the_loop_refuses_a_folder_with_a_run(train):
    train()
    with pytest.raises(InputError, match="holds 2 checkpoints"):
        train()
