"""Many small trainings in one process; prints one JSON object with what each saw."""

import gc
import json
import sys
import time

import torch
from torch import nn

results = {}
MIB = 1 << 20


def fresh():
    time.sleep(0.05)  # the autograd engine's thread lets go of a graph a moment after backward() has returned
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def peaks():
    return {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}


def case(function):
    fresh()
    found = function()
    results[function.__name__] = {**(found or {}), **peaks()}


@case
def values_come_back():
    x = torch.tensor([1.5, -2.0, 3.0], device="cuda")
    ids = torch.arange(100_000, dtype=torch.int64).cuda()
    flags = torch.zeros(7, dtype=torch.bool, device="cuda")
    pinned = torch.full((1000,), 7.0).pin_memory()
    moved = pinned.to("cuda", non_blocking=True).clone().cpu()
    return {
        "list": x.tolist(),
        "item": x[1].item(),
        "last_id": ids[-1].item(),
        "any": bool(flags.any()),
        "pinned": moved[-1].item(),
    }


@case
def mlp_with_adam():
    # Two layers of 1024 x 4096 and 4096 x 1024: parameters, gradients and two Adam states are 4 x 33.57 MB.
    model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1024)).cuda()
    parameters = sum(p.numel() * 4 for p in model.parameters())
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        loss = model(torch.randn(64, 1024, device="cuda")).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    del loss
    return {"live": torch.cuda.memory_allocated(), "parameters": parameters}


@case
def transformer_with_autocast():
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cuda")
    scales = []
    for _ in range(3):
        with torch.autocast("cuda", torch.float16):
            loss = model(torch.randn(8, 64, 256, device="cuda")).float().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return {"scales": scales}


@case
def convolutions():
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, groups=2),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        loss = nn.functional.cross_entropy(
            model(torch.randn(4, 3, 64, 64, device="cuda")), torch.zeros(4, dtype=torch.long, device="cuda")
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@case
def convolution_scratch():
    layer = nn.Conv2d(64, 64, 3, padding=1).cuda()
    x = torch.randn(32, 64, 56, 56, device="cuda", requires_grad=True)
    before = torch.cuda.memory_allocated()
    out = layer(x)
    scratch = torch.cuda.max_memory_allocated() - before - out.numel() * 4
    out.sum().backward()
    return {"scratch": scratch, "cudnn": torch.backends.cudnn.version()}


@case
def attention_backends():
    q = torch.randn(2, 8, 256, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    out = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    out.sum().backward()
    return {"grad": list(q.grad.shape)}


@case
def checkpointing():
    from torch.utils.checkpoint import checkpoint

    model = nn.ModuleList(nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Linear(2048, 512)) for _ in range(4)).cuda()
    found = {}
    for name in ("plain", "checkpointed"):
        fresh()
        x = torch.randn(4096, 512, device="cuda", requires_grad=True)
        for block in model:
            x = checkpoint(block, x, use_reentrant=False) if name == "checkpointed" else block(x)
        x.sum().backward()
        found[name] = torch.cuda.max_memory_allocated()
        model.zero_grad()
        del x
    return found


@case
def out_of_memory():
    total = torch.cuda.mem_get_info()[1]
    before = torch.cuda.memory_reserved()
    try:
        torch.empty(total, dtype=torch.uint8, device="cuda")
        return {"text": None}
    except torch.cuda.OutOfMemoryError as error:
        text = str(error)
    blocks = []
    try:
        while True:
            blocks.append(torch.empty(256 * MIB, dtype=torch.uint8, device="cuda"))
    except torch.cuda.OutOfMemoryError:
        pass
    return {"text": text, "filled": len(blocks) * 256 * MIB, "before": before, "free": torch.cuda.mem_get_info()[0]}


@case
def streams_events_graphs():
    side = torch.cuda.Stream()
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    x = torch.zeros(1000, device="cuda")
    with torch.cuda.stream(side):
        start.record()
        for _ in range(10):
            x.add_(1)
        end.record()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = x * 2
    graph.replay()
    return {"ms": start.elapsed_time(end), "done": end.query(), "captured": list(y.shape)}


@case
def library_scratch():
    # CUB sizes its scratch by the code that it finds: wrong attributes fail in a radix sort.
    x = torch.randn(100_000, device="cuda")
    torch.sort(x)
    torch.cumsum(x, 0)
    torch.topk(x, 10)
    torch.randperm(1000, device="cuda")
    nn.functional.embedding(
        torch.zeros(64, dtype=torch.long, device="cuda"), torch.randn(1000, 16, device="cuda", requires_grad=True)
    ).sum().backward()


@case
def loader():
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.arange(64).float().reshape(16, 4))
    batches = [
        b[0].to("cuda", non_blocking=True).cpu().sum().item()
        for b in DataLoader(data, 4, pin_memory=True, num_workers=2)
    ]
    return {"sums": batches}


print(json.dumps({"torch": torch.__version__, "python": sys.version.split()[0], **results}))
