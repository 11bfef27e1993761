"""The tape does what PyTorch does: for every kind of op the same allocations and releases, of the same sizes, in the
same order. Types, shapes, layouts and requires-grad patterns are drawn anew each time; the seed is in the message, and
VRAMWISE_SEED repeats it. Needs the emulator and tape_ops (cmake builds both).
"""

import json

import compare


def test_ops_allocate_as_in_pytorch(drawn):
    programs = [case for _, case in drawn.ops]
    wrong = compare.wrong_ones(drawn.ops, compare.from_tape(programs, drawn.card), drawn.torch["ops"])
    first = "\n".join(f"{kind}: {json.dumps(case)}\n{text}" for kind, case, text in wrong[:3])
    right = len(drawn.ops) - len(wrong)
    assert not wrong, f"seed {drawn.seed}, {right} equal, {len(wrong)} not:\n{first}"
    assert right >= 60 * drawn.each
