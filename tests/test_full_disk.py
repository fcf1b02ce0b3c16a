import contextlib
import errno
import os
import resource

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from longspan.errors import InputError
from longspan.files import replace_directory, replace_file
from longspan.full_disk import DeferredErrorFile, is_full_disk, no_room_behind

N_BYTES = 2_400_000


@contextlib.contextmanager
def largest_file(n_bytes):
    """The system refuses files above `n_bytes`."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def save_with_torch(path):
    torch.save({str(i): torch.zeros(N_BYTES // 16) for i in range(4)}, path)


def save_with_safetensors(path):
    save_file({"a": torch.zeros(N_BYTES // 4)}, path)


def save_with_numpy(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(N_BYTES // 8))


def save_with_tokenizers(path):
    Tokenizer(models.WordLevel({f"word-{i}": i for i in range(N_BYTES // 15)}, "word-0")).save(str(path))


def save_program(path, width=1000):
    program = torch.export.export(torch.nn.Linear(width, width), (torch.zeros(1, width),))
    with DeferredErrorFile(path) as file:
        torch.export.save(program, file)


LIBRARIES = [save_with_torch, save_with_safetensors, save_with_numpy, save_with_tokenizers, save_program]


def error_of(save, path):
    try:
        save(path)
    except Exception as error:
        return error
    raise AssertionError("it could be written")


@pytest.mark.parametrize("save", LIBRARIES)
@pytest.mark.parametrize("limit", [1_000, 1_500_000])
def test_no_room_is_known_whichever_library_writes(tmp_path, save, limit):
    with largest_file(limit):
        error = error_of(save, tmp_path / "file")
        assert no_room_behind(error, tmp_path, N_BYTES).errno == errno.EFBIG
    # With room there is another reason, unless the error itself says so.
    assert is_full_disk(error, tmp_path, N_BYTES) == (getattr(error, "errno", None) is not None)
    assert {path.name for path in tmp_path.iterdir()} <= {"file"}


def test_a_program_that_has_room_is_written(tmp_path):
    save_program(tmp_path / "file.pt2", width=3)
    program = torch.export.load(tmp_path / "file.pt2").module()
    assert program(torch.zeros(1, 3)).shape == (1, 3)


@pytest.mark.parametrize("save", LIBRARIES)
@pytest.mark.parametrize("size", ["16k", "1500k"])
def test_a_disk_without_room_is_known(mounted, save, size):
    folder = mounted(size)
    assert no_room_behind(error_of(save, folder / "file"), folder, N_BYTES).errno == errno.ENOSPC


def test_the_number_may_stand_behind_another_error(tmp_path):
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        error = RuntimeError("unexpected pos 576 vs 470")
        error.__context__ = ValueError()
        error.__context__.__cause__ = OSError(number, "refused")
        error.__context__.__cause__.__context__ = error  # a circle
        assert no_room_behind(error).errno == number


def test_a_used_up_quota_is_no_room(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert no_room_behind(RuntimeError("?"), tmp_path).errno == errno.EDQUOT


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("No space left on device: PytorchStreamWriter failed, file write failed"),
        OSError(errno.ENOENT, "No such file"),
        InputError("No space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_words_are_not_what_counts(tmp_path, error):
    assert not is_full_disk(error, tmp_path) and not is_full_disk(error)


def test_what_was_written_keeps_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"as it was")
    no_room_behind(RuntimeError("?"), tmp_path, N_BYTES)
    assert (tmp_path / "file").read_bytes() == b"as it was" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("replace", [replace_file, replace_directory])
def test_no_room_leaves_nothing_half_written(tmp_path, replace):
    refused = pytest.raises(InputError, match=r"cannot write .*new: File too large")
    with largest_file(1_500_000), refused, replace(tmp_path / "new") as place:
        save_with_torch(place / "file" if place.is_dir() else place)
    assert os.listdir(tmp_path) == []
