"""What networks add: norms, losses, look-ups, attention; several ops in a row, optimizers, checkpointed blocks."""

import importlib.util

from cases_basic import binary
from maker import FLOATS, broadcastable

# The optimizers of bitsandbytes, where it is installed.
BITSANDBYTES = (
    ["adamw-8bit", "paged-adamw-8bit", "paged-adamw", "lion", "lion-8bit", "paged-lion", "paged-lion-8bit"]
    if importlib.util.find_spec("bitsandbytes")
    else []
)


def softmaxes(op):
    def make(m):
        rank = m.rng.randint(1, 4)
        args = {"dtype": "float32"} if m.rng.random() < 0.3 else {}
        x = m.tensor(m.shape(rank, 200))
        return m.case(m.call(op, [x], dim=m.rng.randrange(-rank, rank), **args)[0])

    return make


def losses(op):
    def make(m):
        n, c = m.rng.choice([1, 7, 64, 333]), m.rng.choice([3, 10, 1000, 4099])
        x, target = m.tensor([n, c], may_expand=False), m.tensor([n], dtype="int64", plain=True)
        return m.case(m.call(op, [x, target], reduction=m.rng.choice(["mean", "sum", "none"]))[0])

    return make


def distances(m):
    shape = m.shape()
    names = [m.tensor(shape), m.tensor(shape)]
    return m.case(m.call("mse_loss", names, reduction=m.rng.choice(["mean", "sum", "none"]))[0])


def layer_norms(m):
    rank = m.rng.randint(1, 4)
    dims = m.rng.randint(1, rank)
    shape = m.shape(rank, 100)
    tall = m.rng.random() < 0.3
    if tall:
        # PyTorch's own kernel for tall matrices fails unless there is one dimension and all gradients are wanted.
        dims = 1
        shape[0] = m.rng.choice([300, 70000])
    grad = True if tall else None
    names = [m.tensor(shape, may_expand=False)]
    if m.rng.random() < 0.8:
        names.append(m.tensor(shape[-dims:], plain=True, grad=grad))
        if tall or m.rng.random() < 0.7:
            names.append(m.tensor(shape[-dims:], plain=True, grad=grad))
    return m.case(m.call("layer_norm", names, dims=dims)[0])


def rms_norms(m):
    shape = m.shape(m.rng.randint(1, 4), 100)
    if m.rng.random() < 0.3:
        shape[0] = m.rng.choice([300, 70000])
    names = [m.tensor(shape, may_expand=False)]
    if m.rng.random() < 0.8:
        names.append(m.tensor(shape[-1:], plain=True))
    return m.case(m.call("rms_norm", names)[0])


def group_norms(m):
    groups = m.rng.choice([1, 2, 4])
    c = groups * m.rng.randint(1, 12)
    area = [m.rng.randint(2, 20) for _ in range(m.rng.randint(1, 2))]
    shape = [m.rng.choice([1, 2, 5]), c, *area]
    names = [m.tensor(shape, may_expand=False)]
    if m.rng.random() < 0.8:
        names += [m.tensor([c], plain=True), m.tensor([c], plain=True)]
    return m.case(m.call("group_norm", names, groups=groups)[0])


def embeddings(m):
    rows, width = m.rng.choice([5, 100, 1000]), m.size(60)
    count = m.rng.choice([[m.size()], [m.size(4), m.size()], [m.rng.randint(3000, 9000)]])
    names = [m.tensor([rows, width], plain=True), m.tensor(count, dtype="int64")]
    return m.case(m.call("embedding", names)[0])


def dropouts(m):
    return m.case(m.call("dropout", [m.tensor(m.shape())], p=m.rng.choice([0.1, 0.0, 0.5]))[0])


def choices(m):
    shape = m.shape()
    names = [m.tensor(broadcastable(m, shape), dtype="bool"), m.tensor(shape)]
    if m.rng.random() < 0.5:
        return m.case(m.call("where", names, value=0.5)[0])
    names.append(m.tensor(broadcastable(m, shape) if m.rng.random() < 0.5 else shape))
    return m.case(m.call("where", names)[0])


def fillings(m):
    shape = m.shape()
    names = [m.tensor(shape), m.tensor(broadcastable(m, shape), dtype="bool")]
    return m.case(m.call("masked_fill", names, value=-1.5)[0])


def comparisons(m):
    case = binary("lt")(m)
    return {**case, "backward": None}


def along(op):
    def make(m):
        rank = m.rng.randint(1, 4)
        return m.case(m.call(op, [m.tensor(m.shape(rank, 200))], dim=m.rng.randrange(rank))[0])

    return make


def gatherings(m):
    rank = m.rng.randint(1, 3)
    shape = m.shape(rank)
    dim = m.rng.randrange(rank)
    index = [m.rng.randint(1, n) for n in shape]
    names = [m.tensor(shape, may_expand=False), m.tensor(index, dtype="int64")]
    return m.case(m.call("gather", names, dim=dim)[0])


def selections(m):
    rank = m.rng.randint(1, 3)
    names = [m.tensor(m.shape(rank), may_expand=False), m.tensor([m.size()], dtype="int64")]
    return m.case(m.call("index_select", names, dim=m.rng.randrange(rank))[0])


def indexing(m):
    rank = m.rng.randint(1, 3)
    names = [m.tensor(m.shape(rank), may_expand=False), m.tensor(m.shape(m.rng.randint(1, 2)), dtype="int64")]
    return m.case(m.call("index_first", names)[0])


def largest(m):
    rank = m.rng.randint(1, 3)
    shape = m.shape(rank, 200)
    dim = m.rng.randrange(rank)
    x = m.tensor(shape)
    return m.case(m.call("topk", [x], outputs=2, k=m.rng.randint(1, shape[dim]), dim=dim)[0])


def sortings(m):
    count = m.rng.choice([m.rng.randint(2, 300), m.rng.randint(2, 6000), m.rng.randint(4096, 300000)])
    return {**m.case(m.call("sort", [m.tensor([count], dtype="int64", plain=True)], outputs=2)[0]), "backward": None}


def countings(m):
    """How many tokens each expert gets, and where its rows end."""
    names = [m.tensor([m.rng.randint(2, 9000)], dtype="int32", plain=True)]
    counts = m.call("histc", names, bins=m.rng.randint(2, 256))
    m.call("floor_divide", names, by=m.rng.randint(1, 8))
    return {**m.case(m.call("cumsum_int32", counts)[0]), "backward": None}


def groupings(m):
    """Rows are aligned to 16 bytes, as the kernel asks."""
    groups, rows = m.rng.randint(1, 130), m.rng.randint(1, 400)
    inner, outer = 8 * m.rng.randint(1, 40), 8 * m.rng.randint(1, 40)
    names = [m.tensor([rows, inner], plain=True), m.tensor([groups, outer, inner], plain=True)]
    names.append(m.tensor([groups], dtype="int32", plain=True))
    m.inputs[-1]["values"] = sorted(m.rng.randint(0, rows) for _ in range(groups - 1)) + [rows]
    return m.case(m.call("grouped_mm", names)[0])


def quotients_in_place(m):
    shape = m.shape()
    return m.case(m.call("div_", [m.tensor(shape), m.tensor(broadcastable(m, shape))])[0])


def attentions(m):
    b, hk, groups = m.rng.randint(1, 3), m.rng.choice([1, 2, 3]), m.rng.choice([1, 1, 2, 4])
    h, q = hk * groups, m.rng.choice([1, 17, 64, 100, 256, 300])
    # One query of thousands of keys is inference; how cuDNN splits such keys is not modelled.
    k = q if m.rng.random() < 0.7 else m.rng.choice([33, 128, 1000, 3000][: 2 if q == 1 else 4])
    d = m.rng.choice([16, 32, 40, 64, 64, 64, 80, 96, 128, 128, 60, 72, 192, 256])
    grad = m.rng.random() < 0.85

    def heads(count, length):
        name = f"x{len(m.inputs)}"
        if m.rng.random() < 0.8:
            size, layout = [b, length, count, d], [["transpose", {"a": 1, "b": 2}]]
        else:
            size, layout = [b, count, length, d], []
        m.inputs.append({"name": name, "size": size, "dtype": m.dtype, "grad": grad, "layout": layout})
        return name

    names = [heads(h, q), heads(hk, k), heads(hk, k)]
    args = {"gqa": True} if groups > 1 else {}
    kind = m.rng.choice(["none", "causal", "causal", "bool", "float"])
    if kind == "causal":
        args["causal"] = True
    elif kind != "none":
        mask = m.rng.choice([[b, 1, q, k], [1, 1, q, k], [b, h, q, k]])
        names.append(m.tensor(mask, dtype="bool" if kind == "bool" else m.dtype, grad=False, plain=True))
    if m.rng.random() < 0.25:
        args["dropout"] = 0.1
    y = m.call("attention", names, **args)[0]
    if m.rng.random() < 0.6:  # as models go on
        y = m.call("transpose", [y], a=1, b=2)[0]
        y = m.call("contiguous", [y])[0]
    return m.case(y)


def optimizing(m):
    m.dtype = m.rng.choice(FLOATS)
    kind = m.rng.choice(["adamw", "adamw", "sgd", "muon", "adafactor", "adafactor-transformers", *BITSANDBYTES])
    for _ in range(m.rng.randint(1, 6)):
        shape = m.shape(2, 300) if kind == "muon" else m.shape(m.rng.randint(1, 3), 200)
        dtype = m.rng.choice(FLOATS) if m.rng.random() < 0.2 else m.dtype
        m.tensor(shape, dtype=dtype, grad=True, plain=True)
    if kind in BITSANDBYTES and m.rng.random() < 0.5:  # some have so many elements that their states are paged
        m.tensor([m.rng.randint(300, 500), m.rng.randint(190, 500)], grad=True, plain=True)
    described = {"name": kind, "steps": m.rng.randint(1, 3), "how": m.rng.choice(["foreach", "loop", "fused"])}
    if kind == "adafactor":
        described["how"] = m.rng.choice(["foreach", "loop"])
    if kind == "sgd":
        described |= m.rng.choice([{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
        described |= m.rng.choice([{}, {"weight_decay": 0.1}])
    if kind == "muon":
        described["how"] = "loop"
    return {"inputs": m.inputs, "body": [], "backward": None, "optimizer": described}


def blocks(m):
    """A few layers, of which some are checkpointed, maybe under autocast."""
    m.dtype = m.rng.choice(["float32", "bfloat16"])
    b, s, d = m.rng.randint(1, 3), m.size(50), m.rng.choice([8, 16, 33, 64])
    x = m.tensor([b, s, d], grad=m.rng.random() < 0.8, plain=True)
    weights = [m.tensor([d, d], grad=True, plain=True) for _ in range(3)]
    gain, bias = m.tensor([d], grad=True, plain=True), m.tensor([d], grad=True, plain=True)

    def layer(h):
        n = m.call("layer_norm", [h, gain, bias])[0]
        a = m.call("linear", [n, weights[0]])[0]
        a = m.call(m.rng.choice(["silu", "gelu", "relu", "exp", "tanh"]), [a])[0]
        if m.rng.random() < 0.5:
            g = m.call("linear", [n, weights[1], bias])[0]
            a = m.call("mul", [a, g])[0]
        a = m.call("linear", [a, weights[2]] + ([bias] if m.rng.random() < 0.5 else []))[0]
        if m.rng.random() < 0.3:
            a = m.call("dropout", [a], p=0.1)[0]
        return m.call("add", [h, a])[0]

    h = layer(x)
    begin = len(m.body)
    block_input = h
    h = layer(h)
    if m.rng.random() < 0.3:
        h = layer(h)
    end, output = len(m.body), h
    h = layer(h)
    case = m.case(h, wants_grad=True)
    # Inside the block only leaves and its input are known.
    inside = {name for line in m.body[begin:end] for name in line[0]} | {i["name"] for i in m.inputs} | {block_input}
    if m.rng.random() < 0.8 and all(n in inside for line in m.body[begin:end] for n in line[2]):
        case["block"] = {"begin": begin, "end": end, "input": block_input, "output": output}
        dead = inside - {output, block_input} - {i["name"] for i in m.inputs}
        assert not any(n in dead for line in m.body[end:] for n in line[2])
    if m.rng.random() < 0.5:
        case["autocast"] = m.rng.choice(["bfloat16", "float16"])
    return case
