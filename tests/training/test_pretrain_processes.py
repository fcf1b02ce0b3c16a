"""One run in two processes is the run in one, at the same blocks a step."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from longspan.records import read_record
from longspan.training.pretrain.pretrain import pretrain

# Half the rows at once in each of two processes. Without dropout: it is drawn in each process by itself.
FIELDS = {"max_steps": 4, "rows_per_step": 4, "gradient_accumulation_steps": None, "hidden_dropout": 0.0,
          "attention_dropout": 0.0, "max_eval_blocks": 5}  # fmt: skip


ACCELERATE = Path(__file__).parents[2] / "recipes" / "accelerate"


@pytest.mark.parametrize("name", ["ddp.yaml", "fsdp2.yaml"])
def test_accelerates_configurations_are_ones(name):
    config = load_config_from_file(str(ACCELERATE / name))  # refuses a field that it does not know
    assert config.num_processes == 8
    fsdp = getattr(config, "fsdp_config", None) or {}
    if fsdp:
        known = {field.name for field in dataclasses.fields(FullyShardedDataParallelPlugin)}
        renamed = {
            "fsdp_transformer_layer_cls_to_wrap": "transformer_cls_names_to_wrap",
            "fsdp_offload_params": "cpu_offload",
        }
        for field in fsdp:
            assert renamed.get(field, field.removeprefix("fsdp_")) in known | {"version"}, field
        assert fsdp["fsdp_transformer_layer_cls_to_wrap"] == "LongformerLayer"  # the embeddings stay with the tied head


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


@pytest.fixture(scope="module")
def launch():
    """Carries jobs out in new processes (`launch.py`); the records of their runs."""

    def run(folder, *jobs):
        path = folder / "jobs.json"
        path.write_text(json.dumps(jobs))
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (folder / "log").open("wb") as log:
            command = [sys.executable, str(Path(__file__).with_name("launch.py")), str(path)]
            code = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=500, check=False).returncode
        assert code == 0, (folder / "log").read_text()[-6000:]

    return run


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo backend")
def test_two_processes_train_as_one_and_go_on_after_a_kill(tiny_pretrain, tiny_text, launch, tmp_path, caplog):
    """Killed at the first checkpoint: the losses are those of the run that was not, to 1e-6. Sharded, too."""
    fields = FIELDS | {"eval_data": [str(tiny_text)], "save_steps": 2}
    alone = pretrain(tiny_pretrain(output_dir=str(tmp_path / "alone"), **fields))
    fields |= {"ddp_backend": "gloo", "resume_from_checkpoint": True, "report_to": "tensorboard"}
    runs = {name: tmp_path / name for name in ("whole", "killed", "sharded")}
    for name, root in runs.items():
        tiny_pretrain(f"{name}.yaml", output_dir=str(root), **fields)
    killed = {"recipe": str(tmp_path / "killed.yaml"), "processes": 2}
    kill_at = str(runs["killed"] / "checkpoints/checkpoint-2")
    sharded = {"recipe": str(tmp_path / "sharded.yaml"), "processes": 2, "shards": True}
    launch(
        tmp_path, {**killed, "recipe": str(tmp_path / "whole.yaml")}, {**killed, "kill_at": kill_at}, killed,
        {**sharded, "kill_at": str(runs["sharded"] / "checkpoints/checkpoint-2")}, sharded,
    )  # fmt: skip
    whole, resumed, of_shards = (read_record(root / "training.json") for root in runs.values())

    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-6)
    assert len(list((runs["whole"] / "logs").glob("events*"))) == 1  # the first process' alone
    assert losses(whole) == pytest.approx(losses(alone), abs=1e-5)
    for one, other in zip(whole.language_model, alone.language_model, strict=True):
        assert one.n_predicted == other.n_predicted
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
    # Sharded by accelerate's FSDP2, killed and resumed as well, the model put together again in the end.
    assert of_shards.recipe["distributed"] == "FSDP" and whole.recipe["distributed"] == "MULTI_CPU"
    assert losses(of_shards) == pytest.approx(losses(whole), abs=1e-5)
    weights = [load_file(runs[name] / "model.safetensors") for name in ("whole", "sharded")]
    torch.testing.assert_close(weights[1], weights[0], atol=1e-4, rtol=1e-3)
    for record in (whole, resumed, of_shards):
        assert record.counts["tokens_seen"] == alone.counts["tokens_seen"]

    # One process goes on from what two have saved, at the same rows of a step.
    checkpoint = str(runs["killed"] / "checkpoints/checkpoint-2")
    fields |= {"resume_from_checkpoint": checkpoint, "report_to": "none", "eval_data": []}  # ddp_backend is no matter
    fewer = pretrain(tiny_pretrain(output_dir=str(tmp_path / "fewer"), **fields))
    assert losses(fewer) == pytest.approx(losses(alone), abs=1e-5)
    assert fewer.counts["tokens_seen"] == alone.counts["tokens_seen"]
    assert "had 2 processes and has 1 now" in caplog.text


# Since Python 3.12: processes with threads should not fork, as torch's data loader does here.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
# Where fewer cores are there than workers.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_that_prepare_batches_change_nothing(tiny_pretrain, tmp_path):
    fields = {"max_steps": 3, "whole_words": True}
    alone = pretrain(tiny_pretrain(**fields))
    helped = pretrain(tiny_pretrain(**fields, dataloader_num_workers=2, output_dir=str(tmp_path / "helped")))
    assert losses(helped) == losses(alone)
