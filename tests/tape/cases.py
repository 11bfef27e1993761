"""Random programs of ops: one op each, in random types, shapes (odd ones too), layouts and requires-grad patterns."""

import random

FLOATS = ["float32", "bfloat16", "float16"]


class Maker:
    """Draws one case: inputs, then statements on them."""

    def __init__(self, rng):
        self.rng = rng
        self.inputs = []
        self.body = []
        self.dtype = rng.choice(FLOATS)

    def size(self, most=40):
        """Small odd sizes mostly, round ones and ones at times."""
        return self.rng.choice([self.rng.randint(2, most), self.rng.randint(2, most), 1, 8, 16, 32, 64])

    def shape(self, rank=None, most=40):
        rank = self.rng.randint(1, 4) if rank is None else rank
        return [self.size(most) for _ in range(rank)]

    def large_shape(self, rank):
        """Shapes whose reductions are split over blocks."""
        shape = [self.rng.choice([1, 2, 3, 7, 64]) for _ in range(rank)]
        shape[self.rng.randrange(rank)] = self.rng.randint(1000, 60000)
        return shape

    def layout(self, shape):
        """Steps that lead to a tensor of `shape` whose memory lies otherwise, and the size to start from."""
        rank = len(shape)
        kind = self.rng.choice(["plain", "plain", "plain", "transpose", "slice", "expand", "step"])
        if kind == "transpose" and rank > 1:
            a, b = self.rng.sample(range(rank), 2)
            start = list(shape)
            start[a], start[b] = start[b], start[a]
            return start, [["transpose", {"a": a, "b": b}]]
        if kind in ("slice", "step"):
            dim, step = self.rng.randrange(rank), 2 if kind == "step" else 1
            start = list(shape)
            start[dim] = shape[dim] * step + 3
            window = {"dim": dim, "begin": 1, "end": 1 + shape[dim] * step, "step": step}
            return start, [["slice", window]]
        if kind == "expand" and rank > 1:
            dim = self.rng.randrange(rank)
            start = list(shape)
            start[dim] = 1
            return start, [["expand", {"size": list(shape)}]]
        return list(shape), []

    def tensor(self, shape, dtype=None, grad=None, plain=False, may_expand=True):
        name = f"x{len(self.inputs)}"
        start, steps = (list(shape), []) if plain else self.layout(shape)
        if not may_expand and steps and steps[0][0] == "expand":
            start, steps = list(shape), []
        dtype = dtype or self.dtype
        if grad is None:
            grad = self.rng.random() < 0.75
        grad = grad and dtype in FLOATS
        self.inputs.append({"name": name, "size": start, "dtype": dtype, "grad": grad, "layout": steps})
        return name

    def call(self, op, inputs, outputs=1, **args):
        first = len(self.body)
        names = [f"y{first}_{i}" for i in range(outputs)]
        self.body.append([names, op, inputs, args])
        return names

    def case(self, root, wants_grad=None):
        if wants_grad is None:
            wants_grad = any(i["grad"] for i in self.inputs)
        return {"inputs": self.inputs, "body": self.body, "backward": root if wants_grad else None}


def broadcastable(m, shape):
    """A shape that broadcasts to `shape`."""
    other = [1 if m.rng.random() < 0.3 else n for n in shape]
    return other[m.rng.randint(0, len(shape) - 1) :] if m.rng.random() < 0.3 else other


def unary(op, **args):
    def make(m):
        return m.case(m.call(op, [m.tensor(m.shape())], **args)[0])

    return make


def binary(op):
    def make(m):
        shape = m.shape()
        a = m.tensor(shape)
        if m.rng.random() < 0.25:
            return m.case(m.call(op, [a], value=m.rng.choice([2, 0.5]))[0])
        other = broadcastable(m, shape) if m.rng.random() < 0.5 else shape
        names = [a, m.tensor(other, dtype=m.rng.choice([m.dtype, m.dtype, "float32"]))]
        m.rng.shuffle(names)
        return m.case(m.call(op, names)[0])

    return make


def powers(m):
    return m.case(m.call("pow", [m.tensor(m.shape())], exponent=m.rng.choice([2, 3, 0.5, 1, 0]))[0])


def cast(m):
    m.dtype = m.rng.choice(FLOATS)
    return m.case(m.call("to", [m.tensor(m.shape())], dtype=m.rng.choice(FLOATS))[0])


def reduction(op):
    def make(m):
        rank = m.rng.randint(1, 4)
        shape = m.large_shape(rank) if m.rng.random() < 0.6 else m.shape(rank)
        x = m.tensor(shape, may_expand=False)
        if m.rng.random() < 0.25:
            return m.case(m.call(op, [x])[0])
        return m.case(m.call(op, [x], dim=m.rng.randrange(-rank, rank), keepdim=m.rng.random() < 0.5)[0])

    return make


def reshaping(m):
    shape = m.shape(m.rng.randint(2, 4))
    x = m.tensor(shape)
    at = m.rng.randrange(len(shape) - 1)
    size = shape[:at] + [-1] + shape[at + 2 :]
    y = m.call("reshape", [x], size=size)
    return m.case(m.call("silu", y)[0])


def flattening(m):
    shape = m.shape(m.rng.randint(2, 4))
    first = m.rng.randrange(len(shape) - 1)
    y = m.call("flatten", [m.tensor(shape)], first=first, last=m.rng.randint(first, len(shape) - 1))
    return m.case(m.call("exp", y)[0])


def moving(op):
    """Views, followed by an op that makes something of them."""

    def make(m):
        rank = m.rng.randint(2, 4)
        shape = m.shape(rank)
        x = m.tensor(shape)
        dim = m.rng.randrange(rank)
        if op == "transpose":
            args = {"a": m.rng.randrange(rank), "b": m.rng.randrange(rank)}
        elif op == "permute":
            args = {"order": m.rng.sample(range(rank), rank)}
        elif op == "unsqueeze":
            args = {"dim": m.rng.randrange(rank + 1)}
        elif op == "squeeze":
            args = {"dim": dim}
        elif op == "slice":
            args = {"dim": dim, "begin": 0, "end": max(1, shape[dim] // 2), "step": m.rng.choice([1, 1, 2])}
        elif op == "select":
            args = {"dim": dim, "index": m.rng.randrange(shape[dim])}
        elif op == "expand":
            args = {"size": [m.rng.randint(2, 5), *shape]}
        else:
            args = {"dim": dim, "begin": 0, "length": max(1, shape[dim] - 1)}
        y = m.call(op, [x], **args)
        return m.case(m.call(m.rng.choice(["silu", "clone", "contiguous", "exp"]), y)[0])

    return make


def splitting(op):
    def make(m):
        rank = m.rng.randint(1, 4)
        shape = m.shape(rank)
        dim = m.rng.randrange(rank)
        shape[dim] = m.rng.randint(4, 30)
        x = m.tensor(shape, grad=True)
        parts = m.rng.randint(2, 3)
        size = -(-shape[dim] // parts)
        count = -(-shape[dim] // size)
        args = {"size": size} if op == "split" else {"count": parts}
        y = m.call(op, [x], outputs=count, dim=dim, **args)
        z = m.call("silu", [y[0]])
        if shape[dim] % count == 0 and m.rng.random() < 0.7:
            z = m.call("mul", [z[0], y[1]])
        return m.case(z[0])

    return make


def joining(op):
    def make(m):
        rank = m.rng.randint(1, 4)
        shape = m.shape(rank)
        dim = m.rng.randrange(rank)
        parts = []
        for _ in range(m.rng.randint(1, 4)):
            part = list(shape)
            if op == "cat":
                part[dim] = m.size()
            parts.append(m.tensor(part, dtype=m.rng.choice([m.dtype] * 4 + ["float32"])))
        return m.case(m.call(op, parts, dim=dim)[0])

    return make


def matrices(op):
    def make(m):
        n, k, p, b = m.size(200), m.size(200), m.size(200), m.size(6)
        batch = [b] if op in ("bmm", "baddbmm") else []
        x, w = m.tensor([*batch, n, k]), m.tensor([*batch, k, p])
        names = [x, w]
        if op in ("addmm", "baddbmm"):
            names.insert(0, m.tensor(m.rng.choice([[*batch, n, p], [p], [1, p]])))
        return m.case(m.call(op, names)[0])

    return make


def products(m):
    n, k, p = m.size(100), m.size(100), m.size(100)
    lead = [m.size(5) for _ in range(m.rng.randint(0, 2))]
    other = m.rng.choice([lead, [1] * len(lead), []])
    x, w = m.tensor([*lead, n, k]), m.tensor([*other, k, p])
    return m.case(m.call("matmul", [x, w])[0])


def linear(m):
    n, k, p = m.size(100), m.size(100), m.size(100)
    lead = [m.size(5) for _ in range(m.rng.randint(0, 2))]
    names = [m.tensor([*lead, n, k]), m.tensor([p, k], plain=True)]
    if m.rng.random() < 0.5:
        names.append(m.tensor([p], plain=True))
    return m.case(m.call("linear", names)[0])


def meeting(m):
    """One tensor used several times: gradients meet in input buffers and at leaves."""
    shape = m.shape(3, 60)
    x, w = m.tensor(shape, grad=True), m.tensor([shape[-1], shape[-1]], grad=True, plain=True)
    h = m.call("linear", [x, w])[0]
    for _ in range(m.rng.randint(1, 5)):
        a = m.call(m.rng.choice(["silu", "exp", "neg", "clone", "contiguous"]), [h])[0]
        b = m.call("linear", [m.rng.choice([a, h, x]), w])[0]
        h = m.call(m.rng.choice(["add", "mul", "sub"]), [m.rng.choice([a, h]), m.rng.choice([b, a])])[0]
    return m.case(h)


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
    if m.rng.random() < 0.3:
        shape[0] = m.rng.choice([300, 70000])
    names = [m.tensor(shape, may_expand=False)]
    if m.rng.random() < 0.8:
        names.append(m.tensor(shape[-dims:], plain=True))
        if m.rng.random() < 0.7:
            names.append(m.tensor(shape[-dims:], plain=True))
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


CASES = {
    **{op: binary(op) for op in ("add", "sub", "mul", "div")},
    "rsub": unary("rsub", value=1.0),
    "pow": powers,
    **{
        op: unary(op)
        for op in (
            *("neg", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tanh", "sigmoid", "silu", "relu"),
            *("gelu", "gelu_tanh", "clone", "contiguous"),
        )
    },
    "to": cast,
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "reshape": reshaping,
    "flatten": flattening,
    **{
        op: moving(op) for op in ("transpose", "permute", "unsqueeze", "squeeze", "slice", "select", "narrow", "expand")
    },
    "split": splitting("split"),
    "chunk": splitting("chunk"),
    "cat": joining("cat"),
    "stack": joining("stack"),
    **{op: matrices(op) for op in ("mm", "bmm", "addmm", "baddbmm")},
    "matmul": products,
    "linear": linear,
    "meeting": meeting,
    "softmax": softmaxes("softmax"),
    "log_softmax": softmaxes("log_softmax"),
    "nll_loss": losses("nll_loss"),
    "cross_entropy": losses("cross_entropy"),
    "mse_loss": distances,
    "layer_norm": layer_norms,
    "rms_norm": rms_norms,
    "group_norm": group_norms,
    "embedding": embeddings,
    "dropout": dropouts,
    "where": choices,
    "masked_fill": fillings,
    "lt": comparisons,
    "cumsum": along("cumsum"),
    "gather": gatherings,
    "index_select": selections,
    "index_first": indexing,
    "topk": largest,
}


def draw(seed, each, only=None):
    """`each` cases of every kind (or of those named in `only`): a list of (kind, case)."""
    rng = random.Random(seed)
    kinds = [k for k in CASES if only is None or k in only]
    return [(kind, CASES[kind](Maker(rng))) for kind in kinds for _ in range(each)]
