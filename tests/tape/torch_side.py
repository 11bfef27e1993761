"""Runs programs of ops in PyTorch on an emulated card and prints their allocations, as tape_ops does (see there).

Read from stdin: the cases, or {"ops": the cases, "models": the runs of model_side.py} for both from one process,
printed under the same names. With VRAMWISE_STACKS=n the stacks of the n-th case go to stderr instead, for whoever asks
which kernel took a temporary.
"""

import gc
import json
import os
import sys

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CUDA = torch.device("cuda")


def dtype(name):
    return getattr(torch, name)


def binary(op):
    return lambda i, a: op(i[0], i[1] if len(i) > 1 else a["value"])


def reduction(op):
    return lambda i, a: op(i[0], a["dim"], a.get("keepdim", False)) if "dim" in a else op(i[0])


def wanted(a):
    return dtype(a["dtype"]) if "dtype" in a else None


def window(i, a):
    index = [slice(None)] * i[0].dim()
    index[a["dim"]] = slice(a["begin"], a["end"], a.get("step", 1))
    return i[0][tuple(index)]


OPS = {
    "add": binary(torch.add),
    "sub": binary(torch.sub),
    "mul": binary(torch.mul),
    "div": binary(torch.div),
    "rsub": lambda i, a: a["value"] - i[0],
    "add_alpha": lambda i, a: torch.add(i[0], i[1], alpha=a["alpha"]),
    "pow": lambda i, a: i[0].pow(a["exponent"]),
    "neg": lambda i, a: -i[0],
    "sqrt": lambda i, a: torch.sqrt(i[0]),
    "rsqrt": lambda i, a: torch.rsqrt(i[0]),
    "exp": lambda i, a: torch.exp(i[0]),
    "log": lambda i, a: torch.log(i[0]),
    "sin": lambda i, a: torch.sin(i[0]),
    "cos": lambda i, a: torch.cos(i[0]),
    "tanh": lambda i, a: torch.tanh(i[0]),
    "sigmoid": lambda i, a: torch.sigmoid(i[0]),
    "silu": lambda i, a: F.silu(i[0]),
    "relu": lambda i, a: F.relu(i[0]),
    "gelu": lambda i, a: F.gelu(i[0]),
    "gelu_tanh": lambda i, a: F.gelu(i[0], approximate="tanh"),
    "clone": lambda i, a: i[0].clone(),
    "contiguous": lambda i, a: i[0].contiguous(),
    "to": lambda i, a: i[0].to(dtype(a["dtype"])),
    "view": lambda i, a: i[0].view(a["size"]),
    "reshape": lambda i, a: i[0].reshape(a["size"]),
    "transpose": lambda i, a: i[0].transpose(a["a"], a["b"]),
    "t": lambda i, a: i[0].t(),
    "permute": lambda i, a: i[0].permute(a["order"]),
    "unsqueeze": lambda i, a: i[0].unsqueeze(a["dim"]),
    "squeeze": lambda i, a: i[0].squeeze(a["dim"]),
    "expand": lambda i, a: i[0].expand(a["size"]),
    "flatten": lambda i, a: i[0].flatten(a["first"], a.get("last", -1)),
    "slice": window,
    "narrow": lambda i, a: i[0].narrow(a["dim"], a["begin"], a["length"]),
    "select": lambda i, a: i[0].select(a["dim"], a["index"]),
    "split": lambda i, a: i[0].split(a["size"], a["dim"]),
    "chunk": lambda i, a: i[0].chunk(a["count"], a["dim"]),
    "cat": lambda i, a: torch.cat(i, a["dim"]),
    "stack": lambda i, a: torch.stack(i, a["dim"]),
    "detach": lambda i, a: i[0].detach(),
    "mm": lambda i, a: torch.mm(i[0], i[1]),
    "bmm": lambda i, a: torch.bmm(i[0], i[1]),
    "addmm": lambda i, a: torch.addmm(i[0], i[1], i[2]),
    "baddbmm": lambda i, a: torch.baddbmm(i[0], i[1], i[2]),
    "matmul": lambda i, a: torch.matmul(i[0], i[1]),
    "linear": lambda i, a: F.linear(i[0], i[1], i[2] if len(i) > 2 else None),
    "softmax": lambda i, a: F.softmax(i[0], a["dim"], dtype=wanted(a)),
    "log_softmax": lambda i, a: F.log_softmax(i[0], a["dim"], dtype=wanted(a)),
    "nll_loss": lambda i, a: F.nll_loss(i[0], i[1], reduction=a.get("reduction", "mean")),
    "cross_entropy": lambda i, a: F.cross_entropy(i[0], i[1], reduction=a.get("reduction", "mean")),
    "mse_loss": lambda i, a: F.mse_loss(i[0], i[1], reduction=a.get("reduction", "mean")),
    "layer_norm": lambda i, a: F.layer_norm(i[0], i[0].shape[-a.get("dims", 1) :], *i[1:]),
    "rms_norm": lambda i, a: F.rms_norm(i[0], i[0].shape[-1:], *i[1:]),
    "group_norm": lambda i, a: F.group_norm(i[0], a["groups"], *i[1:]),
    "conv2d": lambda i, a: F.conv2d(*i, stride=a.get("stride", 1), padding=a.get("pad", 0)),
    "batch_norm": lambda i, a: F.batch_norm(i[0], i[3], i[4], i[1], i[2], training=True),
    "max_pool2d": lambda i, a: F.max_pool2d(i[0], a["kernel"], a["stride"], a["pad"]),
    "average_pool": lambda i, a: F.adaptive_avg_pool2d(i[0], 1),
    "upsample_nearest": lambda i, a: F.interpolate(i[0], scale_factor=float(a["factor"]), mode="nearest"),
    "embedding": lambda i, a: F.embedding(i[1], i[0]),
    "dropout": lambda i, a: F.dropout(i[0], a["p"]),
    "where": lambda i, a: torch.where(i[0], i[1], i[2] if len(i) > 2 else a["value"]),
    "masked_fill": lambda i, a: i[0].masked_fill(i[1], a["value"]),
    "lt": binary(torch.lt),
    "cumsum": lambda i, a: i[0].cumsum(a["dim"]),
    "gather": lambda i, a: i[0].gather(a["dim"], i[1]),
    "index_select": lambda i, a: i[0].index_select(a["dim"], i[1]),
    "index_first": lambda i, a: i[0][i[1]],
    "attention": lambda i, a: F.scaled_dot_product_attention(
        *i[:3],
        attn_mask=i[3] if len(i) > 3 else None,
        dropout_p=a.get("dropout", 0.0),
        is_causal=a.get("causal", False),
        enable_gqa=a.get("gqa", False),
    ),
    "sort": lambda i, a: torch.sort(i[0]),
    "histc": lambda i, a: torch.histc(i[0], bins=a["bins"], min=0, max=a["bins"] - 1),
    "cumsum_int32": lambda i, a: i[0].cumsum(0, dtype=torch.int32),
    "floor_divide": lambda i, a: i[0] // a["by"],
    "grouped_mm": lambda i, a: F.grouped_mm(i[0], i[1].transpose(-2, -1), offs=i[2]),
    "div_": lambda i, a: (i[0] * 2.0).div_(i[1]),
    "topk": lambda i, a: i[0].topk(a["k"], a["dim"]),
    "sum": reduction(torch.sum),
    "mean": reduction(torch.mean),
}


def make_input(case):
    if "values" in case:
        return torch.tensor(case["values"], dtype=dtype(case["dtype"])).to(CUDA)
    tensor = torch.empty(case["size"], dtype=dtype(case["dtype"]), device=CUDA)
    layout = case.get("layout", [])
    for op, args in layout:
        tensor = OPS[op]([tensor], args)
    if layout:
        tensor = tensor.detach()
    return tensor.requires_grad_(case.get("grad", False))


def statement(names, outputs, op, inputs, args=None):
    if op == "del":
        for name in inputs:
            names.pop(name, None)
        return
    result = OPS[op]([names[name] for name in inputs], args or {})
    for name, value in zip(outputs, result if isinstance(result, (tuple, list)) else [result], strict=False):
        names[name] = value


BITSANDBYTES = ["adamw-8bit", "paged-adamw-8bit", "paged-adamw", "lion", "lion-8bit", "paged-lion", "paged-lion-8bit"]

KEPT = []  # what a case leaves alive until the next one


def from_bitsandbytes(name):
    """ "paged-lion-8bit" is bitsandbytes.optim.PagedLion8bit."""
    import bitsandbytes

    spelled = {"paged": "Paged", "adamw": "AdamW", "lion": "Lion", "8bit": "8bit"}
    return getattr(bitsandbytes.optim, "".join(spelled[word] for word in name.split("-")))


def optimizer_class(described):
    """The class, and its arguments besides the parameters."""
    how = described.get("how", "foreach")
    if described["name"] in BITSANDBYTES:
        return from_bitsandbytes(described["name"]), {}
    if described["name"] == "adafactor":
        return torch.optim.Adafactor, {"foreach": how == "foreach"}
    if described["name"] == "adafactor-transformers":
        from transformers import Adafactor

        return Adafactor, {"lr": 1e-3, "scale_parameter": False, "relative_step": False}
    flags = {"foreach": how == "foreach", "fused": how == "fused"}
    if described["name"] == "adamw":
        return torch.optim.AdamW, flags
    if described["name"] == "muon":
        return torch.optim.Muon, {}
    options = {k: described[k] for k in ("momentum", "weight_decay", "nesterov") if k in described}
    return torch.optim.SGD, {**options, **flags}


def make_optimizer(described, parameters):
    kind, options = optimizer_class(described)
    return kind(parameters, **options)


def run_optimizer(case):
    parameters = [make_input(item) for item in case["inputs"]]
    described = case["optimizer"]
    optimizer = make_optimizer(described, parameters)
    for _ in range(described["steps"]):
        for p in parameters:
            p.grad = torch.empty_like(p)
        if described.get("clip"):
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    KEPT.extend([optimizer, parameters])


def run_body(names, case):
    body, block = case["body"], case.get("block")
    i = 0
    while i < len(body):
        if block and i == block["begin"]:
            leaves = {item["name"]: names[item["name"]] for item in case["inputs"]}
            names[block["output"]] = run_block(leaves, names[block["input"]], body, block)
            del leaves
            i = block["end"]
            continue
        statement(names, *body[i])
        i += 1


def run_block(leaves, x, body, block):
    def run(value):
        local = {**leaves, block["input"]: value}
        for line in body[block["begin"] : block["end"]]:
            statement(local, *line)
        return local[block["output"]]

    return checkpoint(run, x, use_reentrant=False)


def run_case(case):
    if "optimizer" in case:
        return run_optimizer(case)
    names = {}
    for item in case["inputs"]:
        names[item["name"]] = make_input(item)
    if "autocast" in case:
        with torch.autocast("cuda", dtype(case["autocast"])):
            run_body(names, case)
    else:
        run_body(names, case)
    if case["backward"]:
        root = names[case["backward"]]
        if root.requires_grad:
            gradient = torch.empty(root.shape, dtype=root.dtype, device=CUDA)
            torch.autograd.backward([root], [gradient])
            del gradient
        del root
    for item in case["inputs"]:
        names.pop(item["name"], None)
    for line in case["body"]:
        for name in line[0]:
            names.pop(name, None)


def record(stacks=False):
    torch.cuda.memory._record_memory_history(
        enabled="all", context="all" if stacks else None, stacks="all", max_entries=1 << 22, clear_history=True
    )


def trace():
    return torch.cuda.memory._snapshot()["device_traces"][0]


def numbered(entries):
    out, number, count = [], {}, 0
    for entry in entries:
        if entry["action"] == "alloc":
            number[entry["addr"]] = count
            count += 1
            out.append([entry["size"]])
        elif entry["action"] == "free_requested":
            out.append([-1, number.get(entry["addr"], -1)])
    return out


def show_stacks(entries):
    for entry in entries:
        if entry["action"] in ("alloc", "free_requested"):
            print(entry["action"], entry["size"], file=sys.stderr)
            for frame in entry.get("frames", [])[:40]:
                if "CUDACachingAllocator" not in frame["filename"] and frame["name"] != "??":
                    print("    ", frame["name"][:160], file=sys.stderr)


def warm_up():
    torch.empty(1, device=CUDA)
    torch.cuda.is_bf16_supported()  # autocast asks this once, by a tensor of one element


def measure(cases):
    gc.disable()
    stacks = int(os.environ.get("VRAMWISE_STACKS", "-1"))
    answers = []
    for i, case in enumerate(cases):
        KEPT.clear()
        record(stacks == i)
        try:
            run_case(case)
            answers.append(numbered(trace()))
        except RuntimeError as error:
            answers.append(str(error).splitlines()[0])
        if stacks == i:
            show_stacks(trace())
    KEPT.clear()
    gc.enable()
    return answers


def main():
    asked = json.load(sys.stdin)
    warm_up()
    if isinstance(asked, list):
        print(json.dumps(measure(asked)))
        return
    answers = {"ops": measure(asked["ops"])}
    if asked["models"]:
        import model_side

        answers["models"] = model_side.measure_all(asked["models"])
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
