"""Large weights on the host: what they take of its memory; prints one JSON object."""

import json
import os
import tempfile

import torch
from safetensors.torch import load_file, save_file
from torch import nn

MIB = 1 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // MIB


results, before = {}, resident()


def case(name, value=None):
    global before
    now = resident()
    results[name] = {"mib": now - before, "value": value}
    before = now


layers = nn.ModuleList(nn.Linear(8192, 8192, bias=False) for _ in range(8))  # 2 GiB in fp32
case("built")
for layer in layers:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.weight)
    layer.weight.data.normal_().mul_(0.02)
case("initialised")
layers.to(torch.bfloat16)
case("converted", str(layers[0].weight.dtype))
layers.cuda()
case("moved", torch.cuda.memory_allocated() // MIB)
del layers
zeros = torch.zeros(1 << 28)
case("zeros", [zeros[0].item(), zeros[-1].item(), zeros.shape[0]])

with tempfile.TemporaryDirectory() as folder:
    state = {"large": torch.full((1 << 26,), 3.0), "small": torch.arange(5.0)}
    torch.save(state, f"{folder}/weights.pt")
    save_file(state, f"{folder}/weights.safetensors")
    del state
    before = resident()
    loaded = torch.load(f"{folder}/weights.pt")
    on_card = {name: tensor.to("cuda", torch.bfloat16) for name, tensor in loaded.items()}
    case("loaded", on_card["small"].tolist())
    loaded = load_file(f"{folder}/weights.safetensors")
    half = loaded["large"].half()
    case("safetensors", [str(half.dtype), half.shape[0], loaded["small"].tolist(), loaded["large"][7].item()])

    state = {"large": torch.empty(1 << 27, device="cuda"), "small": torch.arange(5.0)}
    torch.save(state, f"{folder}/saved.pt")
    save_file(state, f"{folder}/saved.safetensors", {"format": "pt"})
    files = [os.stat(f"{folder}/saved.{kind}") for kind in ("pt", "safetensors")]
    again = [torch.load(f"{folder}/saved.pt"), load_file(f"{folder}/saved.safetensors")]
    case(
        "saved",
        {
            "sizes": [file.st_size for file in files],
            "on_disk": [file.st_blocks * 512 for file in files],
            "small": [each["small"].tolist() for each in again],
            "large": [each["large"].shape[0] for each in again],
            "devices": [each["large"].device.type for each in again],
        },
    )

small = nn.Linear(4, 4)
case("small", [bool(small.weight.abs().sum() > 0), torch.rand(3).sum().item() > 0])


@torch.compile(backend="eager", fullgraph=True)
def compiled(x):
    y = torch.zeros(3, 4)
    y.add_(2).mul_(3)
    return (x.to(torch.bfloat16).float() + y).half()


case("compiled", compiled(torch.ones(3, 4)).sum().item())
print(json.dumps(results))
