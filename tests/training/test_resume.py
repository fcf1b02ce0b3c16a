"""A pre-training run that is killed goes on as if nothing had happened."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from transformers import TrainerCallback

from longspan.errors import InputError
from longspan.training.checkpoints import MANIFEST, fault_of, is_full_disk, newest_whole_checkpoint, write_manifest
from longspan.training.lock import locked
from longspan.training.pretrain import pretrain
from longspan.training.pretrain_folder import PretrainFolder

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


@pytest.fixture(scope="module")
def uninterrupted():
    """The losses of the run that nobody stops, made once."""
    return {}


def reference(tiny_pretrain, tmp_path, uninterrupted):
    if not uninterrupted:
        recipe = tiny_pretrain(output_dir=str(tmp_path / "whole"), **WITHOUT_OPTIONS)
        uninterrupted |= losses(pretrain(recipe))
    return uninterrupted


def test_killed_with_sigkill_and_started_again(tiny_pretrain, tmp_path, uninterrupted):
    expected = reference(tiny_pretrain, tmp_path, uninterrupted)
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
    expected = reference(tiny_pretrain, tmp_path, uninterrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny_pretrain(**WITHOUT_OPTIONS), callbacks=(Stop(7),))
    checkpoints = tmp_path / "run/checkpoints"
    optimizer = checkpoints / "checkpoint-6" / "optimizer.pt"
    content = bytearray(optimizer.read_bytes())
    content[len(content) // 2] ^= 1
    optimizer.write_bytes(content)
    record = pretrain(tiny_pretrain(**WITHOUT_OPTIONS, resume_from_checkpoint=True))
    assert losses(record) == pytest.approx(expected, abs=1e-6)
    (train_loss,) = [log.values["train_loss"] for log in record.steps if "train_loss" in log.values]
    assert train_loss == pytest.approx(sum(expected.values()) / len(expected), abs=1e-5)
    assert any("checkpoint-6 cannot be used: optimizer.pt has changed" in message for message in caplog.messages)
    assert newest_whole_checkpoint(checkpoints).name == "checkpoint-8"


def test_another_seed_batch_or_mask_is_refused_with_the_differences(tiny_pretrain, tmp_path):
    pretrain(tiny_pretrain(max_steps=2, save_steps=1))
    with pytest.raises(InputError) as raised:
        pretrain(
            tiny_pretrain(
                max_steps=2, seed=7, gradient_accumulation_steps=4, mask_probability=0.3, resume_from_checkpoint=True
            )
        )
    message = str(raised.value)
    for part in ("mask_probability was not set, is 0.3", "rows of a step was 2, is 4", "seed was 42, is 7"):
        assert part in message
    # The same rows in another arrangement are the same step.
    pretrain(
        tiny_pretrain(
            max_steps=2, per_device_train_batch_size=2, gradient_accumulation_steps=1, resume_from_checkpoint=True
        )
    )
    forced = tiny_pretrain(max_steps=6, logging_steps=2, save_steps=4, resume_from_checkpoint=True, force_resume=True)
    assert [step for step in losses(pretrain(forced)) if step > 2] == [4, 6]
    saved = {path.name for path in (tmp_path / "run/checkpoints").glob("checkpoint-*")}
    assert {"checkpoint-4", "checkpoint-6"} <= saved and "checkpoint-5" not in saved


def test_an_evaluation_that_is_another_on_resuming_is_measured_before_and_after(tiny_pretrain, tiny_text, tmp_path):
    fields = {"eval_data": [str(tiny_text)], "max_steps": 2, "save_steps": 1}

    def found(**more):
        return {
            (score.when, score.n_tokens): score for score in pretrain(tiny_pretrain(**fields, **more)).language_model
        }

    found(eval_lengths=[32, 96])
    again = found(eval_lengths=[48, 96], resume_from_checkpoint=True)
    assert set(again) == {(when, length) for when in ("initial", "final") for length in (48, 96)}
    # The model before the first step is the same one, whenever it is measured.
    anew = found(eval_lengths=[48, 96], output_dir=str(tmp_path / "anew"))
    for key in again:
        assert again[key].loss == pytest.approx(anew[key].loss, abs=1e-5)


def test_two_runs_in_one_folder_are_refused(tiny_pretrain, tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.training.lock._WAIT_SECONDS", 0.01)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use"), locked(tmp_path / "link"):
        pass
    with locked(tmp_path / "run"), pytest.raises(InputError, match=rf"in use by another run \(process {os.getpid()}\)"):
        pretrain(tiny_pretrain())
    with locked(tmp_path / "run"):
        pass  # given back


def test_a_lock_that_is_given_back_soon_is_waited_for(tmp_path):
    held = locked(tmp_path / "run")
    held.__enter__()
    timer = threading.Timer(0.1, held.__exit__, (None, None, None))
    timer.start()
    with locked(tmp_path / "run"):
        timer.join()


def make_checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "optimizer.pt").write_bytes(b"moments")
    (path / "trainer_state.json").write_text("{}")
    write_manifest(path)
    return path


def in_manifest(path: Path, old: str, new: str) -> None:
    manifest = path / MANIFEST
    assert old in manifest.read_text()
    manifest.write_text(manifest.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda path: (path / "model.safetensors").write_bytes(b"weig"), "model.safetensors has 4 bytes of 7"),
        (lambda path: (path / "model.safetensors").write_bytes(b"wEights"), "model.safetensors has changed"),
        (lambda path: (path / "trainer_state.json").unlink(), "trainer_state.json is missing"),
        (lambda path: (path / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda path: (path / MANIFEST).write_text('{"fil'), "manifest.json is damaged"),
        (lambda path: (path / MANIFEST).write_text("[]"), "manifest.json is damaged"),
        (lambda path: (path / MANIFEST).write_text('{"files": []}'), "manifest.json is damaged"),
        (lambda path: (path / MANIFEST).write_text('{"files": {}}'), "it lists no trainer_state.json"),
        (lambda path: in_manifest(path, '"bytes"', '"bxtes"'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"sha256"', '"sha356"'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"bytes": 7', '"bytes": null'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"optimizer.pt"', '"oqtimizer.pt"'), "it lists no optimizer"),
        (lambda path: in_manifest(path, '"model.safe', '"modem.safe'), "it lists no model"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(tmp_path, harm, fault, caplog):
    make_checkpoint(tmp_path, 5)
    path = make_checkpoint(tmp_path, 10)
    assert fault_of(path) is None and newest_whole_checkpoint(tmp_path) == path
    harm(path)
    assert fault in fault_of(path)
    assert newest_whole_checkpoint(tmp_path).name == "checkpoint-5"
    assert fault in caplog.text


def test_a_damaged_checkpoint_that_is_asked_for_is_refused(tiny_pretrain, tmp_path):
    path = make_checkpoint(tmp_path, 5)
    (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="has 0 bytes of 7"):
        PretrainFolder(tiny_pretrain(resume_from_checkpoint=str(path))).check()


def test_checkpoints_that_are_all_damaged_stay_where_they_are(tiny_pretrain, tmp_path):
    path = make_checkpoint(tmp_path / "run/checkpoints", 5)
    (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoint-5: model.safetensors has 0 bytes of 7"):
        PretrainFolder(tiny_pretrain(resume_from_checkpoint=True)).check()
    assert path.is_dir()
    assert PretrainFolder(tiny_pretrain(resume_from_checkpoint=True, force_resume=True)).check() is None


def test_going_on_from_another_folder_asks_that_folder_what_it_was_started_with(tiny_pretrain, tmp_path, caplog):
    path = make_checkpoint(tmp_path / "other/checkpoints", 5)
    folder = PretrainFolder(tiny_pretrain(resume_from_checkpoint=str(path)))
    with pytest.raises(InputError, match=r"identity.json cannot be read.*--force_resume"):
        folder.require_same({"seed": 1}, path)
    (path.parent / "identity.json").write_text('{"seed": 2}')
    with pytest.raises(InputError, match="seed was 2, is 1"):
        folder.require_same({"seed": 1}, path)
    (path.parent / "identity.json").unlink()
    PretrainFolder(tiny_pretrain(force_resume=True)).require_same({"seed": 1}, path)
    assert "not known" in caplog.text


def test_later_checkpoints_are_removed_however_the_first_one_is_spelt(tiny_pretrain, tmp_path):
    first, later = (make_checkpoint(tmp_path / "run/checkpoints", step) for step in (5, 10))
    (tmp_path / "link").symlink_to(tmp_path / "run")
    spelt = tmp_path / "link/checkpoints/checkpoint-5"
    PretrainFolder(tiny_pretrain(resume_from_checkpoint=str(spelt))).start_with({}, spelt)
    assert first.is_dir() and not later.exists()


def test_what_a_killed_run_was_writing_or_removing_is_cleared(tiny_pretrain, tmp_path):
    checkpoints = tmp_path / "run/checkpoints"
    whole = make_checkpoint(checkpoints, 5)
    folder = PretrainFolder(tiny_pretrain(resume_from_checkpoint=True))

    def leave() -> None:
        for name in (".saving/checkpoint-6", ".leaving-checkpoint-4"):
            (checkpoints / name).mkdir(parents=True)

    leave()
    folder.start_with({}, whole)
    assert not list(checkpoints.glob(".*"))
    leave()
    with folder.finish():
        pass
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-5", "identity.json", "recipe.json"}


class FullDisk(TrainerCallback):
    """Files above 20,000 bytes cannot be written during one step and the saving after it."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **_):
        limit = 20_000 if state.global_step + 1 == self.step else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def test_a_full_disk_while_saving_does_not_end_the_training(tiny_pretrain, tmp_path, caplog):
    try:
        record = pretrain(tiny_pretrain(max_steps=3, save_steps=1), callbacks=(FullDisk(2),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert record.counts["checkpoints_not_saved"] == 1
    assert sorted(losses(record)) == [1, 2, 3]
    assert "checkpoint-2 could not be saved" in caplog.text
    assert "the last good one is" in caplog.text and "checkpoint-1" in caplog.text
    found = {path.name for path in (tmp_path / "run/checkpoints").glob("*") if path.is_dir()}
    assert found == {"checkpoint-1", "checkpoint-3"}


def test_full_disks_are_known_in_every_librarys_words():
    from safetensors import SafetensorError

    assert is_full_disk(OSError(28, "No space left on device"))
    assert is_full_disk(SafetensorError("I/O error: No space left on device (os error 28)"))
    assert is_full_disk(RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos, file write failed"))
    assert not is_full_disk(OSError(2, "No such file"))
    assert not is_full_disk(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
