"""What networks of images add: convolutions, batch norms, pooling, resizing."""


def image(m, channels, least=4, **args):
    area = [m.rng.randint(least, 40) for _ in range(2)]
    return m.tensor([m.rng.choice([1, 2, 5]), channels, *area], may_expand=False, **args)


def channel_count(m):
    return m.rng.choice([1, 3, 4, 8, 13, 32, 64])


def convolutions(m):
    """Often followed by what models do with the result, so that the gradient comes in another layout."""
    channels, out, size = channel_count(m), channel_count(m), m.rng.choice([1, 1, 3, 3, 5, 7])
    names = [image(m, channels, size), m.tensor([out, channels, size, size], plain=True)]
    if m.rng.random() < 0.5:
        names.append(m.tensor([out], plain=True))
    stride = m.rng.choice([1, 1, 2, size])
    y = m.call("conv2d", names, stride=stride, pad=m.rng.choice([0, size // 2]))
    if m.rng.random() < 0.3:
        y = m.call("flatten", y, first=2, last=-1)
        y = m.call("transpose", y, a=1, b=2)
        y = m.call(m.rng.choice(["silu", "contiguous"]), y)
    return m.case(y[0])


def batch_norms(m):
    channels = m.rng.choice([3, 4, 13, 32, 64])
    names = [image(m, channels, plain=True)]
    names += [m.tensor([channels], plain=True, grad=grad) for grad in (True, True, False, False)]
    y = m.call("batch_norm", names)  # weight, bias, and the running statistics
    if m.rng.random() < 0.5:
        y = m.call("relu", y)
    return m.case(y[0])


def max_pools(m):
    kernel, pad = m.rng.choice([[2, 0], [3, 1]])
    x = image(m, channel_count(m))
    return m.case(m.call("max_pool2d", [x], kernel=kernel, stride=m.rng.choice([1, 2]), pad=pad)[0])


def average_pools(m):
    return m.case(m.call("average_pool", [image(m, channel_count(m))])[0])


def upsamplings(m):
    return m.case(m.call("upsample_nearest", [image(m, channel_count(m))], factor=m.rng.choice([2, 3]))[0])
