"""Operations whose values decide what a program does next: each on the emulated card and on the CPU, compared."""

import json
import sys

import torch
import torch.nn.functional as F
from torch import tensor

OPERATIONS = {}


def operation(function):
    OPERATIONS[function.__name__.strip("_")] = function
    return function


def ids(device):
    return tensor([[5, 7, 7, 2, 0, 0], [1, 5, 9, 9, 9, 2]]).to(device)


def mask(device):
    return (ids(device) != 0).long()


# ---- made on the card
@operation
def full(d):
    return torch.full((3, 2), 2.5, device=d), torch.full((), 7, device=d), torch.full((2,), True, device=d)


@operation
def ones_zeros(d):
    return torch.ones(5, dtype=torch.int32, device=d), torch.zeros(5, dtype=torch.bool, device=d)


@operation
def ranges(d):
    return torch.arange(2, 30, 3, device=d), torch.arange(0, 1, 0.25, device=d), torch.linspace(0, 1, 5, device=d)


@operation
def eye_and_triangles(d):
    return torch.eye(4, device=d), torch.ones(4, 4, device=d).tril(), torch.tril_indices(4, 4, device=d)


@operation
def from_host(d):
    return tensor([1, 2, 3], device=d), torch.as_tensor([True, False], device=d), tensor(3.5, device=d)


@operation
def like(d):
    x = ids(d)
    return torch.zeros_like(x), torch.ones_like(x), torch.full_like(x, 3), x.new_tensor([4]), x.new_ones(2)


# ---- masks, lengths, positions
@operation
def lengths(d):
    return mask(d).sum(-1), mask(d).sum().item(), mask(d).sum(-1).max().item(), mask(d).sum(-1).tolist()


@operation
def cumulative(d):
    return mask(d).cumsum(-1) - 1, mask(d).cumsum(0), tensor([1, 4, 2]).to(d).cumprod(0)


@operation
def padded_cumulative(d):
    return F.pad(torch.cumsum(mask(d).sum(-1), 0, dtype=torch.int32), (1, 0))


@operation
def all_and_any(d):
    m = mask(d).bool()
    return m.all(), m.any(), m.all(-1), m.any(-1), bool(m.all()), bool((~m).any()), m.all().item()


@operation
def extremes(d):
    x = ids(d)
    return x.max().item(), x.min(), x.amax(-1), x.max(-1).values, x.max(-1).indices, x.argmax(-1), x.aminmax()


@operation
def packed_sequences(d):
    positions = tensor([[0, 1, 2, 0, 1, 2, 3]]).to(d)
    starts = torch.diff(positions, prepend=positions[:, :1] - 1, dim=-1) != 1
    return starts.cumsum(-1), (positions == 0).nonzero(), bool((torch.diff(positions) < 0).any())


@operation
def causal_mask(d):
    q = torch.arange(6, device=d)
    allowed = (q[None, :] <= q[:, None])[None, None] & mask(d).bool()[:, None, None, :]
    return allowed, allowed.all(), torch.where(allowed, 0.0, -1.0)


@operation
def flips_and_rolls(d):
    return mask(d).flip(-1), ids(d).roll(1, -1), ids(d).t(), ids(d).transpose(0, 1).contiguous()


# ---- sizes that hang on values
@operation
def nonzero(d):
    x = ids(d)
    return x.nonzero(), torch.nonzero(x == 9, as_tuple=True), torch.argwhere(x > 5), torch.where(x == 7)


@operation
def boolean_index(d):
    x = ids(d)
    return x[x > 4], x[mask(d).bool()], x.masked_select(x == 7), x[:, mask(d).bool().all(0)]


@operation
def boolean_assignment(d):
    x = ids(d)
    x[x == 9] = -100
    return x, (x == -100).sum().item()


@operation
def unique(d):
    x = ids(d)
    return torch.unique(x), torch.unique(x, return_inverse=True), torch.unique(x, return_counts=True, dim=0)


@operation
def unique_runs(d):
    x = ids(d).flatten()
    return torch.unique_consecutive(x), torch.unique_consecutive(x, return_counts=True, return_inverse=True)


@operation
def unique_truth(d):
    return torch.unique(mask(d).bool(), return_counts=True, return_inverse=True)


@operation
def repeat_interleave(d):
    return torch.repeat_interleave(torch.arange(4, device=d), tensor([2, 0, 3, 1]).to(d)), ids(d).repeat_interleave(
        2, 0
    )


@operation
def bincount(d):
    return torch.bincount(ids(d).flatten()), torch.bincount(ids(d).flatten(), minlength=16)


@operation
def histogram(d):
    x = ids(d).flatten()
    return torch.histc(x.float(), bins=10, min=0, max=9), torch.histc(x.float(), bins=4)


@operation
def equality(d):
    return (
        torch.equal(ids(d), ids(d)),
        torch.equal(ids(d), ids(d) + 1),
        torch.allclose(mask(d).float(), mask(d).float()),
    )


@operation
def split_by_values(d):
    x = ids(d).flatten()
    return x.split(mask(d).sum(-1).tolist() + [12 - mask(d).sum().item()])


@operation
def range_by_value(d):
    return torch.arange(ids(d).max().item() + 1, device=d), torch.zeros(mask(d).sum(), device=d)


# ---- order
@operation
def sort(d):
    x = tensor([3, 1, 2, 9, 4]).to(d)
    return x.sort(), x.argsort(descending=True), torch.sort(x, stable=True)


@operation
def topk(d):
    x = tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.4]]).to(d)
    return x.topk(2), x.argmax(-1), x.kthvalue(2)


@operation
def search(d):
    edges = tensor([2, 4, 8]).to(d)
    return torch.searchsorted(edges, ids(d)), torch.bucketize(ids(d), edges), torch.isin(ids(d), edges)


# ---- routing of experts, from scores that are known
@operation
def one_hot(d):
    chosen = tensor([[0, 3], [3, 1], [2, 3]]).to(d)
    hot = F.one_hot(chosen, 4).permute(2, 1, 0)
    hit = (hot.sum((-1, -2)) > 0).nonzero()
    return hot, hit, [torch.where(hot[e.item()]) for e in hit]


@operation
def grouped_offsets(d):
    chosen = tensor([[0, 3], [3, 1], [2, 3]]).to(d).flatten()
    order = chosen.argsort()
    counts = torch.histc(chosen.float(), bins=4, min=0, max=3)
    return chosen[order], counts, counts.cumsum(0, dtype=torch.int32), order.argsort()


@operation
def scatters(d):
    index = tensor([[0, 2], [1, 1]]).to(d)
    return (
        torch.zeros(2, 3, device=d).scatter(1, index, 1.0),
        torch.zeros(3, dtype=torch.long, device=d).scatter_add_(0, index.flatten(), torch.ones_like(index.flatten())),
        torch.zeros(3, dtype=torch.long, device=d).index_add_(0, index[0], index[1]),
        torch.arange(12, device=d).view(3, 4).gather(1, tensor([[0], [3], [1]]).to(d)),
    )


@operation
def selections(d):
    x = torch.arange(12, device=d).view(3, 4)
    return x.index_select(1, tensor([3, 0]).to(d)), x[tensor([2, 0]).to(d)], x.take(tensor([5, 1]).to(d)), x[..., 1::2]


# ---- arithmetic in place, through views
@operation
def in_place(d):
    x = ids(d)
    x += 1
    x[:, 0] = 42
    x[1].mul_(2)
    x.clamp_(max=50)
    x.masked_fill_(x == 50, -1)
    return x


@operation
def views_share(d):
    x = torch.zeros(4, 4, dtype=torch.long, device=d)
    x[1:3, 1:3] = 7
    x.t()[0].fill_(3)
    x.view(-1)[15] = 9
    return x, x.diagonal().sum()


@operation
def overlapping(d):
    x = torch.arange(8, device=d)
    x[1:] += x[:-1].clone()
    return x, x.unfold(0, 3, 2), x.expand(2, 8)


@operation
def out_variants(d):
    out, small = torch.empty(3, dtype=torch.long, device=d), torch.empty(0, dtype=torch.long, device=d)
    torch.add(tensor([1, 2, 3]).to(d), 4, out=out)
    torch.arange(6, out=small)
    return out, small, torch.cumsum(out, 0, out=torch.empty(3, dtype=torch.long, device=d))


@operation
def joined(d):
    x = ids(d)
    return (
        torch.cat([x, x + 1], -1),
        torch.stack([x[0], x[1]]),
        torch.hstack([x[0], x[1]]),
        x.repeat(2, 1),
        x.tile(1, 2),
    )


@operation
def casts(d):
    x = ids(d)
    return x.float(), x.bool(), x.to(torch.int32), x.double().to(torch.float16), x.to("cpu"), x.cpu().tolist()


@operation
def integers(d):
    x = ids(d)
    return x // 2, x % 3, x**2, -x, x.abs(), x & 1, x | 8, x ^ 3, x << 1, x >> 1, torch.div(x, 2, rounding_mode="floor")


@operation
def truth_values(d):
    a, b = mask(d).bool(), ids(d) > 4
    return a & b, a | b, ~a, a ^ b, a.logical_not(), a == b, torch.logical_and(a, b), a.sum(), a.count_nonzero()


@operation
def small_floats(d):
    scale = torch.full((), 65536.0, device=d)
    inverse = scale.double().reciprocal().float()
    frequencies = 1.0 / (10000.0 ** (torch.arange(0, 8, 2, device=d).float() / 8))
    return (
        inverse,
        scale * 0.5,
        frequencies,
        scale.item(),
        torch.sqrt(frequencies),
        frequencies.mean(),
        frequencies.norm(),
    )


@operation
def where_and_clamp(d):
    x = ids(d)
    return torch.where(x > 4, x, torch.zeros_like(x)), x.clamp(1, 5), torch.minimum(x, tensor(3).to(d)), x.fill_(2)


@operation
def reductions(d):
    x = ids(d)
    return (
        x.sum(),
        x.prod(-1),
        x.float().mean(),
        x.float().var(-1),
        x.median(),
        x.float().std(),
        x.cummax(-1),
        x.mode(-1),
    )


@operation
def finite(d):
    x = tensor([1.0, float("inf"), float("nan")]).to(d)
    return x.isnan(), x.isinf(), x.isfinite(), x.isfinite().all().item(), torch.nan_to_num(x)


@operation
def lists(d):
    steps = [torch.zeros((), device=d) for _ in range(3)]
    torch._foreach_add_(steps, 1)
    return steps, torch._foreach_mul(steps, 3), torch._foreach_norm(steps)


@operation
def embedding_of_integers(d):
    table = torch.arange(20, device=d).view(10, 2).float()
    return F.embedding(ids(d), table), table[ids(d)]


@operation
def grid(d):
    y, x = torch.meshgrid(torch.arange(2, device=d), torch.arange(3, device=d), indexing="ij")
    return torch.stack([y, x], -1).view(-1, 2), torch.cartesian_prod(
        torch.arange(2, device=d), torch.arange(2, device=d)
    )


@operation
def between_devices(d):
    x = torch.empty(2, 3, dtype=torch.long, device=d)
    x.copy_(torch.arange(6).view(3, 2).t())
    y = torch.empty(3, 2, dtype=torch.float, device=d)
    y.t().copy_(x)
    return x, y, x.to(torch.int16), x.t().cpu()


@operation
def vectorized(d):
    f = torch.vmap(lambda q: (torch.arange(4, device=d) <= q) & (q > 0))
    return f(torch.arange(4, device=d))


@operation
def under_autocast(d):
    with torch.autocast(d, dtype=torch.bfloat16):
        return (torch.arange(4, device=d) / 2) > 1, torch.arange(4, device=d).sum()


@operation
def inference_and_no_grad(d):
    with torch.inference_mode():
        a = ids(d).sum()
    with torch.no_grad():
        b = (ids(d) == 2).nonzero()
    return a, b


@operation
def with_gradient(d):
    w = torch.full((3,), 2.0, device=d, requires_grad=True)
    (w * torch.arange(3, device=d)).sum().backward()
    return w.grad, w.detach() - w.grad


@operation
def scripted(d):
    return torch.jit.script(_lengths)(ids(d))


def _lengths(x: torch.Tensor) -> torch.Tensor:
    return (x != 0).sum(-1)


@operation
def reused_memory(d):
    """What an earlier tensor left in the same block is not taken for the later one's."""
    first = torch.full((1024,), 7, dtype=torch.long, device=d)
    address = first.data_ptr()
    del first
    second = torch.zeros(1024, dtype=torch.long, device=d)
    return second, second.data_ptr() == address or d == "cpu"


@operation
def resized(d):
    x = torch.arange(4, device=d)
    x.resize_(2)
    return x


@operation
def large_from_host(d):
    """Too large to be computed with, but what the program put there comes back."""
    x = torch.arange(300_000.0).to(d)
    return x, x[299_999].item()


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value.detach().cpu()]
    if isinstance(value, (tuple, list)):
        return [leaf for each in value for leaf in flat(each)]
    return [value]


def same(a, b):
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a.double(), b.double(), equal_nan=True)
    return a == b


def main():
    import vramwise_values

    note = vramwise_values.load(torch)
    assert note is None, note
    torch.manual_seed(1)
    wrong = {}
    state = torch.get_rng_state()
    for name, function in OPERATIONS.items():
        try:
            device, host = flat(function("cuda")), flat(function("cpu"))
            bad = [i for i, (a, b) in enumerate(zip(device, host, strict=True)) if not same(a, b)]
            if bad:
                wrong[name] = [f"{i}: {device[i]} instead of {host[i]}" for i in bad]
        except Exception as error:
            wrong[name] = [repr(error)]
    report = vramwise_values.report()
    print(
        json.dumps(
            {
                "operations": len(OPERATIONS),
                "wrong": wrong,
                "generator_untouched": torch.equal(state, torch.get_rng_state()),
                "report": report,
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
