"""`longspan bench`."""

from longspan.cli.main import main
from longspan.records import read_record

TINY = ["--lengths", "16", "--window", "4", "--repeats", "1", "--no-memory"]
SMALL = [*TINY, "--heads", "2", "--width", "4", "--systems", "chosen", "transformers"]


def test_attention_is_measured_and_the_record_written(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert main(["bench", "attention", *SMALL, "--no-backward", "--dilation", "1", "1,2", "--output", str(path)]) == 0
    assert "transformers Longformer" in capsys.readouterr().out
    record = read_record(path)
    assert record.name == "attention" and record.settings["dilations"] == [1, [1, 2]]


def test_encoders_and_training_steps_are_measured(tmp_path):
    for what, more in (("encoder", ["--padded", "16,8"]), ("training-step", ["--optimizer", "sgd"])):
        path = tmp_path / f"{what}.json"
        tiny = [what, *TINY, "--size", "tiny", "--systems", "longspan", "--output", str(path), *more]
        assert main(["bench", *tiny]) == 0
        assert read_record(path).name == what


def test_explain_prints_a_reason_for_every_backend(capsys):
    from longspan.attention.backends import BACKENDS

    assert main(["bench", "--explain", *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "chosen: " in printed and all(name in printed for name in BACKENDS)


def test_explain_needs_no_device_and_knows_models(capsys):
    gpu = ["--explain", "--device", "cuda", "--dtype", "bfloat16", "float32", "--lengths", "4096"]
    assert main(["bench", *gpu, "--dilation", "2", "--no-backward"]) == 0
    printed = capsys.readouterr().out
    assert "bfloat16 on cuda, without gradients" in printed and "float32 on cuda" in printed
    assert main(["bench", "training-step", *gpu, "--size", "base"]) == 0
    assert "with gradients" in capsys.readouterr().out


def test_a_wrong_setting_is_a_users_mistake(capsys):
    for wrong, message in (
        (["--window", "3"], "must be even"),
        (["--dilation", "0"], "a whole number from 1"),
        (["--dilation", "1,2,3,4,5"], "does not divide"),
        (["--device", "cuda:99", "--output", "x.json"], "is not there"),
    ):
        assert main(["bench", "attention", "--lengths", "16", *wrong]) == 2
        assert message in capsys.readouterr().err
