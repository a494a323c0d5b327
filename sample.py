"""Simulate cells: `python sample.py --run runs/demo --out cells.zarr`. The same as `gensim sample`."""

import sys

from gensim.cli import main

if __name__ == "__main__":
    sys.exit(main(["sample", *sys.argv[1:]]))
