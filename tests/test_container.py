import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")


def make(*words, **environment):
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    variables = [f"{name}={value}" for name, value in environment.items()]
    # The tests may have been started by make, which hands its flags and variables on.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-n", "--no-print-directory", *words, *variables]
    run = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    return [" ".join(line.split()) for line in run.stdout.splitlines()]


def test_the_thesis_way_of_running_a_script():
    words = "scripts/run_long_lm.py --model_name_or_path roberta-base --max_pos 4096 --do_train"
    assert make("repl", f"run={words}", GPU_IDS="none") == [f"docker compose exec repl python {words}"]


@pytest.mark.parametrize(("ids", "service"), [("none", "repl"), ("0", "repl-gpu"), ("0,1", "repl-gpu")])
def test_the_targets_know_their_service(ids, service):
    assert service in yaml.safe_load(COMPOSE)["services"]
    for target in ("build", "up", "shell", "logs"):
        assert re.search(rf" {service}( |$)", make(target, GPU_IDS=ids)[-1]), target
    assert make("down", GPU_IDS=ids) == ["docker compose --profile '*' down"]


def test_every_variable_is_explained_or_made():
    used = set(re.findall(r"\$\{(\w+)", COMPOSE))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    explained = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    assert used - explained == {"USER_ID", "GROUP_ID"}, "the Makefile makes these"
    assert explained <= used


def test_the_image_installs_what_the_project_pins():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert text.count("-c constraints.txt") == 2
    assert re.search(r"^torch==\d", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    arguments = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    assert set(yaml.safe_load(COMPOSE)["services"]["repl-gpu"]["build"]["args"]) == arguments
    assert text.rstrip().splitlines()[-2].startswith("USER "), "not root"
