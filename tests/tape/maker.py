"""Draws the inputs and statements of a random program: types, shapes (odd too), layouts, requires-grad patterns."""

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
