"""Draw docs/images/: the attention patterns, and time, memory and ratios to ours from the newest benchmark records.

Example:
  python benchmarks/pictures.py
"""

import sys
from pathlib import Path

from longspan.attention import AttentionPattern
from longspan.records import BenchmarkRecord, read_record
from longspan.report.pattern_picture import save_pattern_picture
from longspan.report.timings import save_benchmark_picture

sys.path.insert(0, str(Path(__file__).parent))
from runs import ROOT, newest

IMAGES = ROOT / "docs" / "images"

# Figure 2 of Beltagy et al. 2020, "Longformer".
PATTERNS = {
    "full attention": AttentionPattern(23, 23),
    "sliding window": AttentionPattern(3, 3),
    "dilated sliding window": AttentionPattern(3, 3, dilation=2),
    "global + sliding window": AttentionPattern(3, 3, n_global=2),
}


def main() -> int:
    """Draw the patterns, and what there are records for."""
    arrays = {title: pattern.as_array(24) for title, pattern in PATTERNS.items()}
    print(save_pattern_picture(arrays, IMAGES / "patterns.png"))
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
