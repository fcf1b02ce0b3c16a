import pytest

from longspan.wording import did_you_mean, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (0.8, "800 ms"), (9.94, "9.9 s"), (42.4, "42 s"), (60, "1 min"), (425, "7 min 5 s"),
     (3600, "1 h"), (11520, "3 h 12 min")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_near_names_are_suggested():
    known = ["train_data", "eval_data", "max_length"]
    assert did_you_mean("train_dat", known) == "did you mean train_data?"
    assert did_you_mean("train_dat", known, n=2, cutoff=0.5) == "did you mean train_data or eval_data?"
    assert did_you_mean("train_dat", known, first=["max_length"], n=2) == "did you mean max_length or train_data?"
    assert did_you_mean("zzz", known) == ""
    assert did_you_mean("zzz", known, "see the docs") == "see the docs"
