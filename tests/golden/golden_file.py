"""Golden files: values with the machine that made them, and how closely another run must repeat them.

The first line of a file is the machine. On that machine the values must be equal to the last digit; on another one
they must agree to `GOLDEN_ELSEWHERE` of tests/tolerances.py.
"""

import importlib.util
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent


def machine() -> str:
    """What float32 results depend on: the processor, its instructions, and the versions of the libraries."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    # Virtual processors share names.
    exact = [fields.get(name, "") for name in ("model name", "cpu family", "model", "stepping")]
    processor = " ".join(filter(None, exact)) or platform.processor() or platform.machine()
    instructions = torch.backends.cpu.get_cpu_capability()
    return f"{processor}, {instructions}, torch {torch.__version__}, transformers {transformers.__version__}"


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: several threads split sums, and their number would change the last digits."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def write_golden(name: str, values: Mapping[str, Sequence[float]]) -> None:
    """Write values under their labels; nine digits tell every float32 from its neighbours."""
    lines = [f"# {machine()}", *(f"{label}: {' '.join(f'{x:.9g}' for x in row)}" for label, row in values.items())]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def assert_golden(name: str, found: Mapping[str, Sequence[float]]) -> None:
    """Compare values with those of a golden file, exactly on the machine that made it."""
    first, *lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    expected = {label: [float(x) for x in row.split()] for label, row in (line.split(": ") for line in lines)}
    assert list(expected) == list(found)
    tolerance = 0.0 if first == f"# {machine()}" else _tolerance_elsewhere()
    for label, row in expected.items():
        written = [float(f"{x:.9g}") for x in found[label]]
        np.testing.assert_allclose(written, row, atol=tolerance, rtol=tolerance, err_msg=f"{name}, {label}")


def _tolerance_elsewhere() -> float:
    specification = importlib.util.spec_from_file_location("tolerances", HERE.parent / "tolerances.py")
    assert specification is not None and specification.loader is not None
    tolerances = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tolerances)
    return tolerances.GOLDEN_ELSEWHERE
