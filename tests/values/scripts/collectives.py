"""Small tensors through NCCL's collectives, as rank 0 of 4 on an emulated card: all ranks hold what this one does."""

import json

import torch
import torch.distributed as dist
import vramwise_values

RANKS = 4


def main():
    note = vramwise_values.load(torch)
    assert note is None, note
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=RANKS)
    mine = torch.arange(3, device="cuda") + 5
    parts = [torch.empty_like(mine) for _ in range(RANKS)]
    dist.all_gather(parts, mine)
    whole = torch.empty(RANKS * 3, dtype=torch.long, device="cuda")
    dist.all_gather_into_tensor(whole, mine)
    largest = mine.max()
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    counts = torch.tensor([4, 4, 7, 1], device="cuda")
    received = torch.empty_like(counts)
    dist.all_to_all_single(received, counts)
    rows = torch.arange(8, device="cuda")
    exchanged = torch.empty(8, dtype=torch.long, device="cuda")
    dist.all_to_all_single(exchanged, rows, [2] * RANKS, [2] * RANKS)
    objects = [None] * RANKS
    dist.all_gather_object(objects, {"length": 17})
    skipped = torch.ones(8, device="cuda")
    dist.all_gather_into_tensor(
        skipped, (torch.randn(2, 2048, device="cuda") @ torch.randn(2048, 1, device="cuda")).view(2)
    )
    found = {
        "parts": [part.tolist() for part in parts],
        "whole": whole.tolist(),
        "largest": largest.item(),
        "received": received.tolist(),
        "exchanged": exchanged.tolist(),
        "objects": objects,
        "skipped": skipped.tolist(),
    }
    dist.destroy_process_group()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
