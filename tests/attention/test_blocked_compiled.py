"""torch.compile of `blocked`, in a separate process: see `compiled_blocked.py`."""

import subprocess
import sys
from pathlib import Path


def test_blocked_compiles():
    file = Path(__file__).parent / "compiled_blocked.py"
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --import-mode=importlib"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(file), *options], check=False, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
