"""JAX beside PyTorch, or alone: it computes on the CPU, as emulated cards are for PyTorch, and the report says so."""

import os
import sys

from . import imports
from .harmless import harmless

_NOTE = (
    "JAX was told that there is no GPU, as the emulated cards are for PyTorch, and computed on the CPU: what it would "
    "take of a card, by default three quarters of its memory when it first uses it, is not in this report"
)


def install():
    imports.after("jax._src.hardware_utils", _hide_cards)


def _hide_cards(hardware):
    if not hasattr(hardware, "has_visible_nvidia_gpu"):
        return

    def has_visible_nvidia_gpu():
        """Asked when JAX looks for its devices. Without its plugin for CUDA it would be on the CPU anyway."""
        if any(name.startswith("jax_plugins.xla_cuda") for name in sys.modules):
            _tell()
        return False

    hardware.has_visible_nvidia_gpu = has_visible_nvidia_gpu


@harmless
def _tell():
    with open(os.path.join(os.environ["VRAMWISE_LEDGER_DIR"], f"note.jax.{os.getpid()}"), "w") as file:
        file.write(_NOTE)
