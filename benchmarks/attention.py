"""Attention beside its peers: the same as `longspan bench attention`, arguments included."""

import sys

from longspan.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "attention", *sys.argv[1:]]))
