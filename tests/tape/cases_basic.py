"""Elementwise ops, reductions, views and matrix products."""

from maker import FLOATS, broadcastable


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
