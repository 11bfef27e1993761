"""Writes its allocation trace to the file that it is given; what it allocates hangs on a skipped product if told so."""

import json
import sys

import torch
import vramwise_trace
import vramwise_values


def main(path, hangs):
    vramwise_trace.start(torch)
    note = vramwise_values.load(torch)
    assert note is None, note
    scores = torch.randn(1024, 1024, device="cuda") @ torch.randn(1024, 1024, device="cuda")
    kept = torch.empty(int((torch.arange(1000, device="cuda") % 3 == 0).sum()), 256, device="cuda")
    if hangs == "yes":
        kept = torch.empty(1 + int((scores[0] > 0.5).sum()), 256, device="cuda")  # the line
    print(
        json.dumps(
            {"kept": list(kept.shape), "loss": scores.mean().item(), "events": vramwise_trace.write(torch, path)}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
