"""Fit a run: `accelerate launch train.py --config configs/demo.yaml`. The same as `gensim train`."""

import sys

from gensim.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
