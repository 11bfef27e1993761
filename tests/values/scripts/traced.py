"""Writes its allocation trace twice: FOLDER/no has what hangs on true values only, FOLDER/yes also what hangs on a
skipped product.
"""

import json
import os
import sys

import torch
import vramwise_trace
import vramwise_values


def main(folder):
    vramwise_trace.start(torch)
    note = vramwise_values.load(torch)
    assert note is None, note
    scores = torch.randn(1024, 1024, device="cuda") @ torch.randn(1024, 1024, device="cuda")
    torch.empty(int((torch.arange(1000, device="cuda") % 3 == 0).sum()), 256, device="cuda")
    loss = scores.mean().item()
    events = {"no": vramwise_trace.write(torch, os.path.join(folder, "no"))}
    torch.empty(1 + int((scores[0] > 0.5).sum()), 256, device="cuda")  # the line
    events["yes"] = vramwise_trace.write(torch, os.path.join(folder, "yes"))
    torch.cuda.memory._record_memory_history(enabled=None)
    print(json.dumps({"loss": loss, "events": events}))


if __name__ == "__main__":
    main(*sys.argv[1:])
