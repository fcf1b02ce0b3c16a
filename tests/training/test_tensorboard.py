import resource

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from longspan.training.run.tensorboard import DurableTensorBoard


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path / "checkpoints"), use_cpu=True)


def test_only_the_first_process_opens_a_log(arguments, tmp_path):
    for is_first in (False, True):
        logs, state = tmp_path / f"logs-{is_first}", TrainerState(is_world_process_zero=is_first)
        callback = DurableTensorBoard(logs)
        assert not logs.exists()
        callback.on_train_begin(arguments, state, TrainerControl())
        callback.on_log(arguments, state, TrainerControl(), logs={"loss": 1.0})
        callback.on_train_end(arguments, state, TrainerControl())
        assert len(list(logs.glob("events*"))) == is_first


# The writer's own thread ends by the error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_is_said_once_and_ends_nothing(arguments, tmp_path, caplog, ended_writers):
    state, logs = TrainerState(is_world_process_zero=True), tmp_path / "logs"
    callback = DurableTensorBoard(logs)
    callback.on_train_begin(arguments, state, TrainerControl())
    (events,) = logs.glob("events*")
    resource.setrlimit(resource.RLIMIT_FSIZE, (events.stat().st_size + 50, resource.RLIM_INFINITY))
    try:
        for step in range(20):
            state.global_step = step
            callback.on_log(arguments, state, TrainerControl(), logs={"loss": 1.0})
        callback.on_train_end(arguments, state, TrainerControl())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert [record.getMessage().count("cannot be written: File too large") for record in caplog.records] == [1]
