"""What tests import: where the project is, and a decoder that trains in a blink."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Where a test is about the way through the program, not about the size of the model.
SMALLEST = "--hidden_size 32 --n_layers 2 --n_heads 2 --n_kv_heads 1 --head_dim 16 --intermediate_size 64".split()
