import errno

import pytest

from longspan.errors import InputError
from longspan.training.run_folder import RunFolder, explain_full_disk, newest_checkpoint


def make_checkpoint(folder, step, state="{}"):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"")
    (path / "trainer_state.json").write_text(state)
    return path


def test_the_newest_checkpoint_is_that_of_the_highest_step(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (900, 1000, 90):
        make_checkpoint(tmp_path, step)
    assert newest_checkpoint(tmp_path).name == "checkpoint-1000"


@pytest.mark.parametrize("state", ["", '{"a'])
def test_half_a_checkpoint_is_none(tmp_path, state):
    make_checkpoint(tmp_path, 1)
    make_checkpoint(tmp_path, 2, state)
    assert newest_checkpoint(tmp_path).name == "checkpoint-1"


def test_an_output_folder_that_is_a_file(tiny_recipe, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunFolder(tiny_recipe()).check()


def test_a_run_in_the_way_is_named(tiny_recipe, tmp_path):
    make_checkpoint(tmp_path / "run/checkpoints", 5)
    with pytest.raises(InputError, match=r"holds 1 checkpoints.*--resume_from_checkpoint true"):
        RunFolder(tiny_recipe()).check()


def test_resuming_without_a_checkpoint_starts_from_the_beginning(tiny_recipe):
    assert RunFolder(tiny_recipe(resume_from_checkpoint=True)).check() is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("file write failed")])
def test_a_full_disk_is_said(tmp_path, error):
    with pytest.raises(InputError, match=r"cannot write.*make room and resume"), explain_full_disk(tmp_path):
        raise error


def test_other_errors_stay_themselves(tmp_path):
    with pytest.raises(FileNotFoundError), explain_full_disk(tmp_path):
        raise FileNotFoundError(errno.ENOENT, "no")


def test_checkpoints_that_are_all_faulty_are_not_removed_in_silence(tiny_recipe, tmp_path):
    path = make_checkpoint(tmp_path / "run/checkpoints", 5, "{")
    with pytest.raises(InputError, match=r"checkpoint-5: it is not complete.*--overwrite_output_dir"):
        RunFolder(tiny_recipe(resume_from_checkpoint=True)).check()
    assert path.is_dir()
    assert RunFolder(tiny_recipe(resume_from_checkpoint=True, overwrite_output_dir=True)).check() is None
