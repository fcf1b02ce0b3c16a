import time

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from longspan.training.run import time_limit
from longspan.training.run.cost import Usage
from longspan.training.run.time_limit import StopAfter


@pytest.fixture
def now(monkeypatch):
    """The clock, to be set."""
    at = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def ends(limit, tmp_path, *, is_first=True):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    control = TrainerControl()
    limit.on_step_end(arguments, TrainerState(is_world_process_zero=is_first), control)
    return control.should_training_stop


def test_the_first_step_that_ends_late_is_the_last_one(now, tmp_path):
    usage = Usage(on_gpu=False)
    limit = StopAfter(2, usage, show_progress=False)
    usage.start()
    now[0] += 119
    assert not ends(limit, tmp_path)
    now[0] += 1
    assert ends(limit, tmp_path)


def test_minutes_before_a_resume_count(now, tmp_path):
    usage = Usage(on_gpu=False)
    usage.start()
    now[0] += 5
    usage.add(seconds=110, peak_memory_gib=1e6)
    assert usage.seconds == 115
    assert usage.peak_memory_gib == 1e6
    limit = StopAfter(2, usage, show_progress=False)
    assert not ends(limit, tmp_path)
    now[0] += 5
    assert ends(limit, tmp_path)


def test_the_first_process_decides_for_all(now, tmp_path, monkeypatch):
    usage = Usage(on_gpu=False)
    usage.start()
    limit = StopAfter(2, usage, show_progress=False)
    monkeypatch.setattr(time_limit, "anywhere", lambda arguments, here: True)
    assert ends(limit, tmp_path, is_first=False)
    told = []
    monkeypatch.setattr(time_limit, "anywhere", lambda arguments, here: told.append(here))
    now[0] += 500
    assert not ends(limit, tmp_path, is_first=False)
    assert not ends(limit, tmp_path)
    assert told == [False, True]
