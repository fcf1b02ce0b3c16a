import time

from transformers import TrainerControl, TrainerState, TrainingArguments

from longspan.training.time_limit import StopAfter


def test_the_first_step_that_ends_late_is_the_last_one(monkeypatch, tmp_path):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = StopAfter(minutes=2, show_progress=False)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state, control = TrainerState(), TrainerControl()
    limit.on_train_begin(arguments, state, control)
    now[0] += 119
    limit.on_step_end(arguments, state, control)
    assert not control.should_training_stop
    now[0] += 1
    limit.on_step_end(arguments, state, control)
    assert control.should_training_stop
