"""All CPU records of the bars in one go, about 25 minutes on two quiet cores; records that are there are kept.

Example:
  python benchmarks/run_all.py && python benchmarks/tables.py && python benchmarks/pictures.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from runs import CPU, make

if __name__ == "__main__":
    sys.exit(make(CPU, __doc__ or ""))
