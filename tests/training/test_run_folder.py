import errno
import json
import os
import subprocess
import sys

import pytest
from transformers import TrainingArguments

from longspan.errors import InputError
from longspan.training.pretrain.folder import PretrainFolder
from longspan.training.run.checkpoints import MANIFEST, fault_of, newest_whole_checkpoint, remove_checkpoint
from longspan.training.run.folder import RunFolder, explain_full_disk
from longspan.training.run.lock import locked
from longspan.training.run.resume_check import PROCESSES


def test_the_newest_checkpoint_is_that_of_the_highest_step(make_checkpoint, tmp_path):
    assert newest_whole_checkpoint(tmp_path) is None
    for step in (900, 1000, 90):
        make_checkpoint(tmp_path, step)
    assert newest_whole_checkpoint(tmp_path).name == "checkpoint-1000"


def in_manifest(path, old, new):
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
        (lambda path: (path / MANIFEST).write_text('{"files": {}}'), "it holds no trainer_state.json"),
        (lambda path: in_manifest(path, '"bytes"', '"bxtes"'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"sha256"', '"sha356"'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"bytes": 7', '"bytes": null'), "manifest.json is damaged"),
        (lambda path: in_manifest(path, '"optimizer.pt"', '"oqtimizer.pt"'), "it holds no optimizer"),
        (lambda path: in_manifest(path, '"model.safe', '"modem.safe'), "it holds no model"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(make_checkpoint, tmp_path, harm, fault, caplog):
    make_checkpoint(tmp_path, 5)
    path = make_checkpoint(tmp_path, 10)
    assert fault_of(path) is None and newest_whole_checkpoint(tmp_path) == path
    harm(path)
    assert fault in fault_of(path)
    assert newest_whole_checkpoint(tmp_path).name == "checkpoint-5"
    assert fault in caplog.text


@pytest.fixture(params=[RunFolder, PretrainFolder])
def make_folder(request, tiny_recipe, tiny_pretrain):
    """The folder of a recipe of either kind; fields override it."""
    kind, make = request.param, tiny_recipe if request.param is RunFolder else tiny_pretrain
    return lambda **fields: kind(make(**fields))


def test_a_damaged_checkpoint_that_is_asked_for_is_refused(make_folder, make_checkpoint, tmp_path):
    path = make_checkpoint(tmp_path, 5)
    (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="has 0 bytes of 7"):
        make_folder(resume_from_checkpoint=str(path)).check()


def test_checkpoints_that_are_all_damaged_stay_where_they_are(make_folder, make_checkpoint, tmp_path):
    path = make_checkpoint(tmp_path / "run/checkpoints", 5)
    (path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoint-5: model.safetensors has 0 bytes of 7.*--overwrite_output_dir"):
        make_folder(resume_from_checkpoint=True).check()
    assert path.is_dir()
    assert make_folder(resume_from_checkpoint=True, overwrite_output_dir=True).check() is None


def test_or_an_earlier_start_is_insisted_on(tiny_pretrain, make_checkpoint, tmp_path):
    (make_checkpoint(tmp_path / "run/checkpoints", 5) / "model.safetensors").write_bytes(b"")
    assert PretrainFolder(tiny_pretrain(resume_from_checkpoint=True, force_resume=True)).check() is None


def test_an_output_folder_that_is_a_file(make_folder, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        make_folder().check()


def test_a_run_in_the_way_is_named(make_folder, make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "run/checkpoints", 5)
    with pytest.raises(InputError, match=r"holds 1 checkpoints.*--resume_from_checkpoint true"):
        make_folder().check()


def test_resuming_without_a_checkpoint_starts_from_the_beginning(make_folder):
    assert make_folder(resume_from_checkpoint=True).check() is None


def test_another_run_in_the_folder_is_refused(make_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("longspan.training.run.lock._WAIT_SECONDS", 0.01)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    with (
        locked(tmp_path / "run"),
        pytest.raises(InputError, match=rf"in use by another run \(process {os.getpid()}\)"),
        make_folder().held(arguments),
    ):
        pass


def test_going_on_otherwise_is_refused_or_said(tiny_recipe, tiny_pretrain, make_checkpoint, tmp_path, caplog):
    path = make_checkpoint(tmp_path / "other/checkpoints", 5)
    refusing, forced = PretrainFolder(tiny_pretrain()), PretrainFolder(tiny_pretrain(force_resume=True))
    with pytest.raises(InputError, match=r"identity.json cannot be read.*--force_resume"):
        refusing.require_same({"seed": 1}, path)
    (path.parent / "identity.json").write_text('{"seed": 2}')
    with pytest.raises(InputError, match="seed was 2, is 1"):
        refusing.require_same({"seed": 1}, path)
    assert not caplog.records
    for folder in (forced, RunFolder(tiny_recipe())):
        folder.require_same({"seed": 1}, path)
        assert "seed was 2, is 1; the result is neither run's" in caplog.text
        caplog.clear()
    (path.parent / "identity.json").unlink()
    forced.require_same({"seed": 1}, path)
    assert "not known" in caplog.text


def test_another_number_of_processes_is_said_and_not_refused(tiny_pretrain, make_checkpoint, tmp_path, caplog):
    path = make_checkpoint(tmp_path / "run/checkpoints", 5)
    (path.parent / "identity.json").write_text(json.dumps({"seed": 1, PROCESSES: 8}))
    PretrainFolder(tiny_pretrain()).require_same({"seed": 1, PROCESSES: 2}, path)
    assert "had 8 processes and has 2 now: its steps hold the same rows, but dropout" in caplog.text


def test_later_checkpoints_are_removed_however_the_first_one_is_spelt(make_folder, make_checkpoint, tmp_path):
    first, later = (make_checkpoint(tmp_path / "run/checkpoints", step) for step in (5, 10))
    (tmp_path / "link").symlink_to(tmp_path / "run")
    spelt = tmp_path / "link/checkpoints/checkpoint-5"
    make_folder(resume_from_checkpoint=str(spelt)).start({}, spelt)
    assert first.is_dir() and not later.exists()


def test_what_killed_runs_were_writing_or_removing_is_cleared(make_folder, make_checkpoint, tmp_path):
    checkpoints = tmp_path / "run/checkpoints"
    whole = make_checkpoint(checkpoints, 5)
    folder = make_folder(resume_from_checkpoint=True)
    beside = {path.name for path in tmp_path.iterdir()}

    def leave():
        for name in (".saving/checkpoint-6", ".leaving-checkpoint-4"):
            (checkpoints / name).mkdir(parents=True)
        (checkpoints / ".recipe.json.ab12cd34").touch()
        (tmp_path / ".run.ab12cd_4/checkpoints").mkdir(parents=True)  # the finished folder, half of it

    leave()
    others = {".run.lock", ".run-2.ab12cd34", ".other.ab12cd34", ".run.mine"}
    for name in others:
        (tmp_path / name).mkdir()
    folder.start({}, whole)
    assert not list(checkpoints.glob(".*"))
    assert {path.name for path in tmp_path.iterdir()} == beside | others
    leave()
    with folder.finish():
        pass
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-5", "identity.json", "recipe.json"}
    assert {path.name for path in tmp_path.iterdir()} == beside | others


def test_finishing_in_place_moves_no_checkpoint(make_folder, make_checkpoint, tmp_path, monkeypatch):
    root = tmp_path / "run"
    checkpoint = make_checkpoint(root / "checkpoints", 5)
    (root / "logs").symlink_to("../scratch")
    (root / ".longspan.new-ab12cd34").mkdir()  # of a killed run
    inode = checkpoint.stat().st_ino
    monkeypatch.chdir(root)
    folder = make_folder(resume_from_checkpoint=True, output_dir=".")
    folder.start({}, checkpoint)
    with folder.finish(leave_out={"stale"}) as finished:
        (finished / "config.json").write_text("{}")
        (root / "stale").touch()
        (root / "notes.txt").touch()
    assert {path.name for path in root.iterdir()} == {"checkpoints", "config.json", "logs", "notes.txt"}
    assert checkpoint.stat().st_ino == inode and (root / "logs").is_symlink()


def test_a_new_run_clears_checkpoints_behind_a_link(make_folder, make_checkpoint, tmp_path):
    make_checkpoint(tmp_path / "scratch", 5)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to("../scratch")
    make_folder(overwrite_output_dir=True).start({}, None)
    assert {path.name for path in (tmp_path / "scratch").iterdir()} == {"identity.json", "recipe.json"}
    assert (tmp_path / "run" / "checkpoints").is_symlink()


def test_a_checkpoint_that_cannot_be_renamed_is_removed(make_checkpoint, tmp_path, monkeypatch):
    path = make_checkpoint(tmp_path, 5)

    def refuse(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "rename", refuse)
    remove_checkpoint(path)
    assert not list(tmp_path.iterdir())


def test_a_protected_parent_has_no_lock_of_ours(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    real = os.access  # root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path) and real(path, mode))
    monkeypatch.setattr("longspan.training.run.lock._WAIT_SECONDS", 0.01)
    with locked(run), pytest.raises(InputError, match="in use"), locked(run):
        pass
    assert os.listdir(tmp_path) == ["run"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_said(tmp_path, number):
    refusal = OSError(number, os.strerror(number))
    for error, cause in ((refusal, None), (RuntimeError("unexpected pos 576 vs 470"), refusal)):
        with pytest.raises(InputError, match=r"cannot write.*make room and resume"), explain_full_disk(tmp_path):
            raise error from cause


def test_a_disk_that_may_not_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match=r"cannot write.*change its permissions"), explain_full_disk(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_other_errors_stay_themselves(tmp_path):
    with pytest.raises(FileNotFoundError), explain_full_disk(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "no")


def test_a_lock_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / ".run.lock").mkdir()
    with (
        pytest.raises(InputError, match=r"cannot write .*\.run\.lock: .*choose another output_dir"),
        locked(tmp_path / "run"),
    ):
        pass


def test_a_killed_process_gives_its_lock_back(tmp_path):
    code = (
        "from pathlib import Path; from longspan.training.run.lock import locked\n"
        f"with locked(Path({str(tmp_path / 'run')!r})): print('held', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("longspan.training.run.lock._WAIT_SECONDS", 0.01)
            with pytest.raises(InputError, match=rf"process {holder.pid}\)"), locked(tmp_path / "run"):
                pass
        holder.kill()
        with locked(tmp_path / "run"):
            pass
