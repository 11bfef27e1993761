"""Trains with gradient accumulation, evaluates, saves; prints what PyTorch says of the peaks in between.

`phases.py FILE`, or `phases.py FILE threads`: twice at once, each in a thread of its own and on a card of its own,
while the main thread waits.
"""

import json
import sys
import threading

import torch
from torch.utils.data import DataLoader, TensorDataset


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(1024, 4096, bias=False)
        self.down = torch.nn.Linear(4096, 1024, bias=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


def run(device, path, wait=lambda: None):
    model = torch.nn.Sequential(*(Block() for _ in range(4))).to(device)
    loaded = torch.cuda.max_memory_allocated(device)
    torch.empty(64 << 20, dtype=torch.uint8, device=device)
    torch.cuda.reset_peak_memory_stats(device)  # the program forgets it, the report must not
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    data = TensorDataset(torch.randn(4096, 1024))
    steps = 0
    for _ in range(20):
        for i, (x,) in enumerate(DataLoader(data, 256)):
            wait()
            model(x.to(device)).square().mean().backward()
            if i % 2 == 1:
                optimizer.step()
                optimizer.zero_grad()
                steps += 1
    trained = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    after_reset = torch.cuda.max_memory_allocated(device)
    model.eval()
    with torch.no_grad():
        kept = [model(x.to(device)) for (x,) in DataLoader(data, 512)]
    evaluated = torch.cuda.max_memory_allocated(device)
    torch.save(model.state_dict(), path)
    return {
        "steps": steps,
        "batches": len(kept),
        "loaded": loaded,
        "trained": trained,
        "after_reset": after_reset,
        "evaluated": evaluated,
        "now": torch.cuda.memory_allocated(device),
        "weights": sum(p.numel() * 4 for p in model.parameters()),
    }


def in_threads(path):
    """Batch by batch at the same time."""
    barrier, found = threading.Barrier(2, timeout=60), {}

    def work(index):
        found[str(index)] = run(f"cuda:{index}", f"{path}.{index}", barrier.wait)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"steps": max(each["steps"] for each in found.values()), "cards": found}


torch.cuda.init()
torch.cuda.memory._record_memory_history(max_entries=1000)
torch.cuda.memory._record_memory_history(enabled=None)  # the report goes on with it
print(json.dumps(in_threads(sys.argv[1]) if "threads" in sys.argv else run("cuda:0", sys.argv[1])))
