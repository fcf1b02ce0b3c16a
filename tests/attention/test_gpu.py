"""The GPU backends on a real device: gpu_backends.py in a separate process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_backends_on_the_device():
    """Without jaxtyping's hook, which a compiler would trace; other tests check shapes.

    For more of what it says: `pytest -o addopts="--import-mode=importlib" tests/attention/gpu_backends.py`.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    file = Path(__file__).parent / "gpu_backends.py"
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
