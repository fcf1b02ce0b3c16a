"""One run in two processes is the run in one, at the same blocks a step."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file

from longspan.records import read_record
from longspan.training.pretrain import pretrain

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
        # accelerate shards on accelerators only: the step itself is tested in tests/models/test_sharding.py.
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


def free_port():
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


def run_in_two(path, folder):
    """As torchrun starts them; it is not needed for two."""
    port = str(free_port())
    processes = []
    for rank in range(2):
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)
        }  # fmt: skip
        with (folder / f"log-{rank}").open("wb") as log:
            command = [sys.executable, "-m", "longspan", "pretrain", str(path)]
            processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    codes = [process.wait(timeout=400) for process in processes]
    assert codes == [0, 0], [(folder / f"log-{rank}").read_text()[-3000:] for rank in range(2)]
    return read_record(folder / "run/training.json")


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch has no gloo backend")
def test_two_processes_train_as_one(tiny_pretrain, tiny_text, tmp_path):
    alone = pretrain(tiny_pretrain(output_dir=str(tmp_path / "alone"), eval_data=[str(tiny_text)], **FIELDS))
    tiny_pretrain(
        "two.yaml", eval_data=[str(tiny_text)], ddp_backend="gloo", ddp_find_unused_parameters=False, **FIELDS
    )
    together = run_in_two(tmp_path / "two.yaml", tmp_path)
    assert losses(together) == pytest.approx(losses(alone), abs=1e-5)
    for one, other in zip(together.language_model, alone.language_model, strict=True):
        assert one.n_predicted == other.n_predicted
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
