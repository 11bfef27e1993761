"""True values on the card, from the extension that src/values builds for the program's torch; and its trace."""

import os
import sys

from .harmless import harmless

_note = "not used"


def start(torch):
    """When CUDA is initialized: a program without it needs no values, and no compiler."""
    torch.cuda._lazy_call(lambda: _load(torch))


@harmless
def _load(torch):
    global _note
    import vramwise_values

    _note = vramwise_values.load(torch)
    if _note:
        print(f"vramwise: small values on the card are not true: {_note}", file=sys.stderr)


@harmless
def report():
    """What the values rest on; {"note": why there are none}."""
    if _note == "not used":
        return None
    import vramwise_values

    return {"note": _note} if _note else vramwise_values.report()


@harmless
def write_trace(torch, path):
    if os.environ.get("VRAMWISE_TRACE") == "1" and torch.cuda.is_initialized():
        import vramwise_trace

        vramwise_trace.write(torch, path)
