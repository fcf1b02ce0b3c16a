import importlib.util
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden"


def test_losses_are_those_of_the_golden_run(tmp_path):
    spec = importlib.util.spec_from_file_location("make_finetune", GOLDEN / "make_finetune.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    losses = make.make_losses(tmp_path)
    assert len(losses) == 20
    make.golden_file.assert_golden("finetune_tiny.txt", losses)
