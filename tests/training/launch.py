"""Carries out pre-training runs, each in several processes, as torchrun would: `python launch.py JOBS.json`.

A job: {"recipe": path, "processes": n, "kill_at": path, "shards": bool}. Where `kill_at` is given, all processes are
killed with SIGKILL as soon as that path exists; where `shards`, accelerate shards the model as under
recipes/accelerate/fsdp2.yaml. The libraries are imported once, before any process is forked.
"""

import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import transformers.trainer  # noqa: F401
from accelerate import state

import longspan.training.pretrain.pretrain  # noqa: F401
from longspan.cli.main import main

SHARDED = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LongformerLayer", "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}  # fmt: skip


def shard():
    """Let accelerate shard, which it does on accelerators only: on processors it would take its plugin for nothing."""
    os.environ |= SHARDED
    make = state.AcceleratorState.__init__

    def make_sharding(self, *args, fsdp_plugin=None, **kwargs):
        make(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            for kind in (state.AcceleratorState, state.PartialState):
                kind._shared_state["distributed_type"] = state.DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    state.AcceleratorState.__init__ = make_sharding


def carry_out(recipe, processes, kill_at=None, shards=False):
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port = some.getsockname()[1]
    children = []
    for rank in range(processes):
        child = os.fork()
        if not child:
            os.environ |= {
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes), "RANK": str(rank), "LOCAL_RANK": str(rank)
            }  # fmt: skip
            code = 1
            try:
                if shards:
                    shard()
                code = main(["pretrain", recipe])
            except Exception:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    if kill_at is None:
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0] * processes, codes
        return
    while not Path(kill_at).exists():
        assert os.waitpid(-1, os.WNOHANG) == (0, 0), "a process ended before it could be killed"
        time.sleep(0.01)
    for child in children:
        os.kill(child, signal.SIGKILL)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [-signal.SIGKILL] * processes


for job in json.loads(Path(sys.argv[1]).read_text()):
    carry_out(**job)
