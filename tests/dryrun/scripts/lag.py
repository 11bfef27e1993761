"""Blocks that another stream used come back when that stream got there; prints one JSON object."""

import json

import torch

side = torch.cuda.Stream()
event = torch.cuda.Event()
for _ in range(20):
    block = torch.empty(8 << 20, device="cuda")
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(40):
            block.add_(1)
        block.record_stream(side)
        event.record()
    early = event.query()
    del block
asked = 0
while not event.query():
    asked += 1
print(json.dumps({"reserved": torch.cuda.max_memory_reserved(), "early": early, "asked": asked}))
