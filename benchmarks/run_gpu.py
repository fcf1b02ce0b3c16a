"""All GPU records of the bars, at most about 8 minutes on an H100 or H200; records that are there are kept.

Example:
  python benchmarks/run_gpu.py --minutes 7 && python benchmarks/tables.py && python benchmarks/pictures.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from runs import GPU, make

if __name__ == "__main__":
    sys.exit(make(GPU, __doc__ or ""))
