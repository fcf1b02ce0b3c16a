"""`python -m longspan` is the command `longspan`."""

import sys

from longspan.cli.main import main

sys.exit(main())
