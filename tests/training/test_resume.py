"""A pre-training run that is killed goes on as if nothing had happened."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from transformers import TrainerCallback

from longspan.errors import InputError
from longspan.training.pretrain.pretrain import pretrain
from longspan.training.run.checkpoints import newest_whole_checkpoint
from longspan.training.run.lock import locked

WITHOUT_OPTIONS = {
    "save_steps": 3,
    "max_steps": 8,
    "lr_scheduler_type": "linear",
    "warmup_steps": 2,
    "logging_steps": 2,
}


def losses(record):
    return {log.step: log.values["loss"] for log in record.steps if "loss" in log.values}


class Stop(TrainerCallback):
    """Ends the process's run in the middle of a step, as a crash does."""

    def __init__(self, step):
        self.step = step

    def on_substep_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


class Slow(TrainerCallback):
    """Takes its time at a step."""

    SECONDS = 1.5

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            time.sleep(self.SECONDS)


@pytest.fixture(scope="module")
def uninterrupted():
    """The record of the run that nobody stops, made once."""
    return []


def reference(tiny_pretrain, tmp_path, uninterrupted):
    if not uninterrupted:
        recipe = tiny_pretrain(output_dir=str(tmp_path / "whole"), **WITHOUT_OPTIONS)
        uninterrupted.append(pretrain(recipe))
    return uninterrupted[0]


def test_killed_with_sigkill_and_started_again(tiny_pretrain, tmp_path, uninterrupted):
    expected = losses(reference(tiny_pretrain, tmp_path, uninterrupted))
    recipe = tiny_pretrain("killed.yaml", **WITHOUT_OPTIONS, resume_from_checkpoint=True)
    checkpoints = tmp_path / "run/checkpoints"
    command = [sys.executable, "-m", "longspan", "pretrain", str(tmp_path / "killed.yaml")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        while not (checkpoints / "checkpoint-3").is_dir() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (tmp_path / "run/training.json").exists()
    record = pretrain(recipe)
    # Logs of two steps each: the one after step 4 holds step 3, which was taken before the kill.
    assert losses(record) == pytest.approx(expected, abs=1e-6)
    assert {score.when for score in record.language_model} == set()


def test_a_damaged_checkpoint_is_named_and_the_one_before_used(tiny_pretrain, tmp_path, uninterrupted, caplog):
    expected = losses(reference(tiny_pretrain, tmp_path, uninterrupted))
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_pretrain(**WITHOUT_OPTIONS), callbacks=(Stop(7), Slow(1)))
    checkpoints = tmp_path / "run/checkpoints"
    optimizer = checkpoints / "checkpoint-6" / "optimizer.pt"
    content = bytearray(optimizer.read_bytes())
    content[len(content) // 2] ^= 1
    optimizer.write_bytes(content)
    record = pretrain(tiny_pretrain(**WITHOUT_OPTIONS, resume_from_checkpoint=True))
    assert losses(record) == pytest.approx(expected, abs=1e-6)
    # What the first start read and took counts, up to the checkpoint that was gone on from.
    assert record.counts["tokens_seen"] == uninterrupted[0].counts["tokens_seen"]
    assert record.seconds > Slow.SECONDS
    (train_loss,) = [log.values["train_loss"] for log in record.steps if "train_loss" in log.values]
    assert train_loss == pytest.approx(sum(expected.values()) / len(expected), abs=1e-5)
    assert any("checkpoint-6 cannot be used: optimizer.pt has changed" in message for message in caplog.messages)
    assert newest_whole_checkpoint(checkpoints).name == "checkpoint-8"


def test_another_seed_batch_or_mask_is_refused_with_the_differences(tiny_pretrain, tiny_text, tmp_path, caplog):
    pretrain(tiny_pretrain(max_steps=2, save_steps=1))
    with pytest.raises(InputError) as raised:
        pretrain(
            tiny_pretrain(
                max_steps=2, seed=7, gradient_accumulation_steps=4, mask_probability=0.3, precision="bf16",
                optim="sgd", resume_from_checkpoint=True,
            )
        )  # fmt: skip
    message = str(raised.value)
    for part in (
        "mask_probability was 0.15, is 0.3", "rows of a step was 2, is 4", "seed was 42, is 7",
        "precision was float32, is bf16", "optim was not set, is sgd",
    ):  # fmt: skip
        assert part in message
    assert "text" not in message
    # The same rows in another arrangement are the same step, and defaults that are written out are the same fields.
    moved = tmp_path / "moved.txt"
    shutil.copy(tiny_text, moved)
    pretrain(
        tiny_pretrain(
            max_steps=2, per_device_train_batch_size=2, gradient_accumulation_steps=1, resume_from_checkpoint=True,
            layout="continuous", max_length=96, attention_window=[16, 16], data_seed=42, lr_scheduler_type="linear",
            hidden_dropout=0.1, precision="float32", train_data=[str(moved)], save_steps=1, logging_steps=2,
        )
    )  # fmt: skip
    assert "started otherwise" not in caplog.text and "neither" not in caplog.text
    forced = tiny_pretrain(max_steps=6, logging_steps=2, save_steps=4, resume_from_checkpoint=True, force_resume=True)
    assert [step for step in losses(pretrain(forced)) if step > 2] == [4, 6]
    saved = {path.name for path in (tmp_path / "run/checkpoints").glob("checkpoint-*")}
    assert {"checkpoint-4", "checkpoint-6"} <= saved and "checkpoint-5" not in saved


def test_an_evaluation_that_is_another_on_resuming_is_measured_before_and_after(
    tiny_pretrain, tiny_text, tmp_path, caplog
):
    fields = {"eval_data": [str(tiny_text)], "max_steps": 2, "save_steps": 1}

    def found(**more):
        return {
            (score.when, score.n_tokens): score for score in pretrain(tiny_pretrain(**fields, **more)).language_model
        }

    found(eval_lengths=[32, 96])
    again = found(eval_lengths=[48, 96], resume_from_checkpoint=True)
    assert set(again) == {(when, length) for when in ("initial", "final") for length in (48, 96)}
    assert "neither run's" not in caplog.text
    # The model before the first step is the same one, whenever it is measured.
    anew = found(eval_lengths=[48, 96], output_dir=str(tmp_path / "anew"))
    for key in again:
        assert again[key].loss == pytest.approx(anew[key].loss, abs=1e-5)


def test_one_lock_for_a_folder_and_links_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.training.run.lock._WAIT_SECONDS", 0.01)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use"), locked(tmp_path / "link"):
        pass
    with locked(tmp_path / "run"):
        pass  # given back


def test_a_lock_that_is_given_back_soon_is_waited_for(tmp_path):
    held = locked(tmp_path / "run")
    held.__enter__()
    timer = threading.Timer(0.1, held.__exit__, (None, None, None))
    timer.start()
    with locked(tmp_path / "run"):
        timer.join()


class FullDisk(TrainerCallback):
    """Files above 1,000 bytes cannot be written during one step, and logging and saving after it."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **_):
        limit = 1_000 if state.global_step + 1 == self.step else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


# The thread that writes TensorBoard's events ends by the error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_while_saving_or_logging_does_not_end_the_training(tiny_pretrain, tmp_path, caplog, ended_writers):
    try:
        record = pretrain(tiny_pretrain(max_steps=3, save_steps=1, report_to="tensorboard"), callbacks=(FullDisk(2),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert record.counts["checkpoints_not_saved"] == 1
    assert sorted(losses(record)) == [1, 2, 3]
    assert "checkpoint-2 could not be saved" in caplog.text
    assert caplog.text.count("TensorBoard's log") == 1
    assert "the last good one is" in caplog.text and "checkpoint-1" in caplog.text
    found = {path.name for path in (tmp_path / "run/checkpoints").glob("*") if path.is_dir()}
    assert found == {"checkpoint-1", "checkpoint-3"}
