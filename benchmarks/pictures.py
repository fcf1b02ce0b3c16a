"""Draw docs/images/ from the newest committed benchmark records: time and memory against length, and ratios to ours.

Example:
  python benchmarks/pictures.py
"""

import sys
from pathlib import Path

from longspan.records import BenchmarkRecord, read_record
from longspan.report.timings import save_benchmark_picture

sys.path.insert(0, str(Path(__file__).parent))
from runs import ROOT, newest

IMAGES = ROOT / "docs" / "images"


def main() -> int:
    """Draw what there are records for."""
    for device in ("cpu", "gpu"):
        path = newest(f"attention-lengths-{device}")
        if path is None:
            print(f"attention-lengths-{device}: no record")
            continue
        record = read_record(path)
        assert isinstance(record, BenchmarkRecord), f"{path} is no benchmark"
        for what, dtype in dict.fromkeys((t.what, t.dtype) for t in record.timings):
            name = f"{what.replace(' + ', '-').replace(' ', '-')}-{device}"
            print(save_benchmark_picture(record, what, dtype, IMAGES / f"{name}.png"))
            print(save_benchmark_picture(record, what, dtype, IMAGES / f"{name}-ratios.png", ratios=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
