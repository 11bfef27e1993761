"""One run of bench/train_cpu in Python PyTorch: settings as JSON on stdin, tokens in the named file, JSON out."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

import numpy
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from parity.plain_decoder import PlainDecoder


def anonymous_bytes() -> int:
    """Resident pages that no file stands behind, as vramwise-train reads its own (src/train/memory_probe.cc)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    settings = json.load(sys.stdin)
    batch, seq_len = settings["batch"], settings["seq_len"]
    tokens = numpy.memmap(sys.argv[1], dtype=numpy.uint16, mode="r")
    # The first product starts the thread pool and its library's buffers: not the model's memory.
    (torch.ones(64, 64) @ torch.ones(64, 64)).sum().item()
    before = anonymous_bytes()
    torch.manual_seed(1)
    decoder = PlainDecoder(settings["model"])
    optimizer = torch.optim.AdamW(decoder.parameter_groups(0.1), lr=3e-4, betas=(0.9, 0.95), fused=True)
    step_ms = []
    for step in range(settings["steps"]):
        begin = time.perf_counter()
        at = step * batch * seq_len
        text = torch.from_numpy(tokens[at : at + batch * seq_len + 1].astype("int64"))
        ids, targets = text[:-1].view(batch, seq_len), text[1:].view(batch, seq_len)
        loss = decoder.loss(ids, targets, settings["chunk"]) / targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        step_ms.append(1000 * (time.perf_counter() - begin))
    print(json.dumps({"step_ms": statistics.median(step_ms[settings["warm_up"] :]), "before_bytes": before}))


if __name__ == "__main__":
    main()
