"""Durable checkpoints: written to a staging folder and renamed, with a manifest that detects damaged files.

A checkpoint is a folder `checkpoint-<step>` as transformers' Trainer writes it, and in it `manifest.json`: size and
SHA-256 of every other file. The folder gets its name once all its files are on the disk.
"""

import contextlib
import functools
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from longspan.errors import InputError
from longspan.full_disk import is_full_disk, no_room_behind
from longspan.limits import load_json
from longspan.records import hash_file
from longspan.replacing import remove
from longspan.training.run.cost import Usage
from longspan.training.run.distributed import anywhere, largest
from longspan.training.run.progress_callback import ShowProgress

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_STAGING = ".saving"
_LEAVING = ".leaving-"
_PROGRESS = "progress.json"
# Required parts of a checkpoint, and how the names of their files begin (FSDP and PEFT have their own names).
_PARTS = {
    "trainer_state.json": TRAINER_STATE_NAME,
    "model": ("model", "pytorch_model", "adapter_model"),
    "optimizer": "optimizer",
}


def write_manifest(folder: Path) -> None:
    """List all files of `folder` in its manifest, and flush them to the disk."""
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": hash_file(path)}
        _sync(path)
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
    _sync(manifest)
    _sync(folder)


def fault_of(folder: Path) -> str | None:
    """The fault of the checkpoint in `folder`, with the file's name; None if the checkpoint is whole."""
    try:
        listed = load_json(folder / MANIFEST)["files"]
        files = {name: (int(expected["bytes"]), str(expected["sha256"])) for name, expected in listed.items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing: it was not written to the end, or not by longspan"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    for part, prefixes in _PARTS.items():
        if not any(name.startswith(prefixes) for name in files):
            return f"it holds no {part}"
    for name, (n_bytes, sha256) in files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except (OSError, ValueError):
            return f"{name} is missing"
        if size != n_bytes:
            return f"{name} has {size:,} bytes of {n_bytes:,}"
        if hash_file(path) != sha256:
            return f"{name} has changed since it was written (its checksum is another)"
    return None


def newest_whole_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the highest step in `folder`; every damaged one is named in a warning."""
    for path in reversed(checkpoints_in(folder)):
        fault = fault_of(path)
        if fault is None:
            return path
        logger.warning("%s cannot be used: %s; looking at the one before", path, fault)
    return None


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint. It is renamed first, so that a half-removed one is never taken for a checkpoint."""
    leaving = path.with_name(_LEAVING + path.name)
    shutil.rmtree(leaving, ignore_errors=True)
    try:
        path.rename(leaving)
    except OSError:  # a mount point, a folder of an image's lower layer
        (path / MANIFEST).unlink(missing_ok=True)
        leaving = path
    with contextlib.suppress(OSError):
        remove(leaving)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run was writing or removing in `folder`. The caller holds the folder's lock."""
    for path in [folder / _STAGING, *folder.glob(f"{_LEAVING}*")]:
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(".*.json.*"):  # as `longspan.files.replace_file` names what it writes
        path.unlink(missing_ok=True)


def checkpoints_in(folder: Path) -> list[Path]:
    """All checkpoints, whole or not, by step."""
    steps = {path: int(match[1]) for path in folder.glob("checkpoint-*") if (match := re.search(r"-(\d+)$", path.name))}
    return sorted(steps, key=steps.__getitem__)


class DurableTrainer(Trainer):
    """Trainer with atomic checkpoints; a full disk while saving does not end the training.

    The loss summed since the last log is part of a checkpoint, so that a resumed run logs what an uninterrupted run
    logs. Time and peak memory are kept too.

    Attributes:
        failed_saves: checkpoints that could not be written.
        last_checkpoint: the newest whole one.
        usage: seconds and memory so far.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Take what transformers.Trainer takes."""
        self._staging: Path | None = None
        super().__init__(**kwargs)
        ShowProgress.replace_in(self)
        self.failed_saves = 0
        self.last_checkpoint: Path | None = None
        self.usage = Usage(on_gpu=self.args.device.type == "cuda")

    def train_from(self, checkpoint: Path | None) -> None:
        """Train from the beginning, or resume from a checkpoint."""
        self.usage.start()
        if checkpoint is None:
            self.train()
            return
        self.last_checkpoint = checkpoint
        self.add_callback(_Restore(self, checkpoint))
        self.train(resume_from_checkpoint=str(checkpoint))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As in transformers; the final mean loss is over all steps, including those before a resume."""
        if "train_loss" in logs:
            # Newer versions divide the sum over all steps by the steps since the resume.
            logs["train_loss"] = self._total_loss_scalar / max(1, self.state.global_step)
        super().log(logs, *args, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any, *args: Any, **kwargs: Any) -> None:
        root = Path(super()._get_output_dir(trial))
        path = root / f"checkpoint-{self.state.global_step}"
        staging = root / _STAGING
        if self.is_world_process_zero():
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        progress, best_before = self.progress(), self.state.best_model_checkpoint
        save: Callable[[], None] = functools.partial(super()._save_checkpoint, model, trial, *args, **kwargs)
        n_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        for write in (
            lambda: self._write_beside(staging, save, progress),
            lambda: self._put_in_place(staging / path.name, path),
        ):
            error = _no_room_for(write, staging, n_bytes)
            if anywhere(self.args, error is not None):
                self.state.best_model_checkpoint = best_before
                self._report_failure(path, error, staging)
                return
        self.last_checkpoint = path
        if self.is_world_process_zero():
            shutil.rmtree(staging, ignore_errors=True)
            self._rotate(root)

    def _write_beside(self, staging: Path, save: Callable[[], None], progress: dict[str, Any]) -> None:
        """Write the Trainer's files and `progress` into `staging`; called in all processes."""
        self._staging = staging
        try:
            staging.mkdir(parents=True, exist_ok=True)
            save()
        finally:
            self._staging = None
        folder = staging / f"checkpoint-{self.state.global_step}"
        if self.state.best_model_checkpoint == str(folder):
            # The name that the folder will have after the rename.
            self.state.best_model_checkpoint = str(staging.parent / folder.name)
            if self.is_world_process_zero():
                self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        if self.is_world_process_zero():
            (folder / _PROGRESS).write_text(json.dumps(progress), encoding="utf-8")

    def _put_in_place(self, new: Path, path: Path) -> None:
        if not self.is_world_process_zero():
            return
        write_manifest(new)
        if path.exists():  # from an earlier attempt at these steps
            remove_checkpoint(path)
        os.replace(new, path)
        _sync(path.parent)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        # Tied weights are stored once; transformers would warn about the other names.
        tied = getattr(self.model, "_tied_weights_keys", None) or ()
        load_result.missing_keys[:] = [key for key in load_result.missing_keys if key not in tied]
        super()._issue_warnings_after_load(load_result)

    def _report_failure(self, path: Path, error: OSError | None, staging: Path) -> None:
        self.failed_saves += 1
        if self.is_world_process_zero():
            shutil.rmtree(staging, ignore_errors=True)
            last = f"the last good one is {self.last_checkpoint}" if self.last_checkpoint else "there is none before it"
            logger.error(
                "%s could not be saved: %s. Training continues; %s. Make room: the next one is saved as planned",
                path, error.strerror if error else "another process failed", last,
            )  # fmt: skip

    def _rotate(self, root: Path) -> None:
        """Remove the oldest checkpoints; keep `save_total_limit` of them, and always the last and the best."""
        limit = self.args.save_total_limit
        best = self.state.best_model_checkpoint
        if limit:
            for path in checkpoints_in(root)[:-limit]:
                # Checkpoints of later steps may belong to another run.
                if path != self.last_checkpoint and str(path) != best:
                    remove_checkpoint(path)

    def progress(self) -> dict[str, Any]:
        """Return what a checkpoint keeps beside transformers' own state; called in all processes."""
        return {
            # Logs are means over processes.
            "loss_since_log": self.accelerator.gather(self._tr_loss).mean().item(),  # pyright: ignore
            "loss_logged": self._total_loss_scalar,
            "step_of_log": self._globalstep_last_logged,
            "failed_saves": self.failed_saves,
            "seconds": self.usage.seconds,
            "peak_memory_gib": largest(self.args, self.usage.peak_memory_gib),
        }

    def restore_progress(self, progress: dict[str, Any]) -> None:
        """Restore what `progress` returned; called when the training begins."""
        self._tr_loss += progress["loss_since_log"]
        self._total_loss_scalar = progress["loss_logged"]
        self._globalstep_last_logged = progress["step_of_log"]
        self.failed_saves = progress["failed_saves"]
        # Checkpoints of earlier versions, resumed with --force_resume, have neither.
        self.usage.add(seconds=progress.get("seconds", 0), peak_memory_gib=progress.get("peak_memory_gib", 0))


def require_steps(trainer: Trainer) -> None:
    """Refuse a training that made no step: its result would be the model that it started from.

    Raises:
        InputError: no step was made.
    """
    if not trainer.state.global_step:
        raise InputError(
            "the training made no step, so there is no new model: its data has fewer rows than one step takes; lower "
            "per_device_train_batch_size, or remove dataloader_drop_last"
        )


class _Restore(TrainerCallback):
    """Restores a trainer's progress after the Trainer's own preparation and before the first step.

    The checkpoint's state also restores how often to log, evaluate and save; this run's arguments replace that.
    """

    def __init__(self, trainer: DurableTrainer, checkpoint: Path) -> None:
        self._trainer, self._path = trainer, checkpoint / _PROGRESS

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)
        if self._path.is_file():
            self._trainer.restore_progress(load_json(self._path))


def _no_room_for(write: Callable[[], None], staging: Path, n_bytes: int) -> OSError | None:
    """Call `write`; return the error if the disk has no room in `staging`, None if it has. Other errors are raised.

    `n_bytes` is the size of the weights, because safetensors removes a file that it cannot finish.
    """
    try:
        write()
    except BaseException as error:  # torch.distributed.checkpoint's own is no Exception
        refusal = no_room_behind(error, staging, n_bytes if isinstance(error, SafetensorError) else 0)
        if refusal is None:
            raise
        return refusal
    return None


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk, if the system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if is_full_disk(error):
            raise
    finally:
        os.close(handle)
