"""Decisions of real training programs, on an emulated card where large arithmetic is skipped."""

import json

import torch
import torch.nn.functional as F
import vramwise_values

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def large(*shape):
    """What no real run's control flow hangs on: the product of large matrices, which is not computed."""
    return torch.randn(shape[0], 1024, device="cuda") @ torch.randn(1024, *shape[1:], device="cuda")


WEIGHTS = []


@case
def weights():
    """Copied to the card before all else; more than the emulator's budget of host memory, in one of the tests."""
    WEIGHTS.extend(torch.zeros(4 << 20).cuda() for _ in range(10))
    return {"sum": torch.arange(5, device="cuda").sum().item()}


@case
def sizes():
    """The kernels take the memory that they take on a real card."""
    x = torch.arange(100_000, device="cuda")
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    found = (x % 3 == 0).nonzero()
    taken = torch.cuda.memory_allocated() - before
    rows, even = large(100_000, 8), x % 2 == 0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    rows[even]
    return {"found": list(found.shape), "taken": taken, "selected_peak": torch.cuda.max_memory_allocated() - before}


@case
def unknown_reads_as_the_fill():
    """… and not as what another tensor left in the same block."""
    left = torch.full((512,), 3.0, device="cuda")
    address = left.data_ptr()
    del left
    y = large(512, 4).mean(-1)
    loss = large(64, 64).sum()
    return {
        "same_block": y.data_ptr() == address,
        "values": y.unique().tolist(),
        "loss": loss.item(),
        "list": loss.tolist(),
    }


@case
def sizes_by_what_was_not_computed():
    torch.cuda.memory._record_memory_history(stacks="python")  # it is what makes Python's lines known
    y = large(4096)
    kept = y[y > 0]
    torch.cuda.memory._record_memory_history(enabled=None)
    return {"kept": kept.numel()}


@case
def unknown_spreads_and_heals():
    flag = torch.zeros(3, dtype=torch.bool, device="cuda")
    flag[1] = True
    partly = flag.clone()
    partly[0] = (large(4, 4) > 7).any()
    whole = torch.ones(4, device="cuda")
    whole += large(4, 1)[:, 0]
    spread = whole.sum().item()
    whole.fill_(2.0)
    return {"flag": flag.tolist(), "rest": partly[1:].tolist(), "spread": spread, "healed": whole.sum().item()}


@case
def finite():
    """Skipped numbers are finite: programs stop on a NaN, and none was computed."""
    x = large(8192, 4096)
    return {
        "isfinite": x.isfinite().all().item(),
        "isnan": x.isnan().any().item(),
        "isinf": torch.isinf(x).any().item(),
        "itself": (x != x).any().item(),
        "norm": torch.isfinite(x.norm()).item(),
        "below": bool((x.max() < float("inf")).item()),
    }


@case
def sampling():
    probabilities = large(4, 32_000).softmax(-1)
    return {"next": list(torch.multinomial(probabilities, 1).shape)}


@case
def scaler():
    model = torch.nn.Linear(512, 512).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0, growth_interval=2)
    scales, steps = [], []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    for _ in range(3):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(torch.randn(256, 512, device="cuda")).float().pow(2).mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return {"scales": scales, "steps": len(steps)}


@case
def masks():
    """The questions that attention layers ask of a padding mask and of positions."""
    padding = torch.ones(2, 2048, dtype=torch.long)
    padding[1, 1500:] = 0
    padding = padding.cuda()
    positions = torch.cat([torch.arange(700), torch.arange(1348)])[None].cuda()
    jumps = torch.diff(positions, prepend=positions[:, :1] - 1, dim=-1) != 1
    starts = (positions.flatten() == 0).nonzero().flatten()
    ends = F.pad(starts[1:], (0, 1), value=2048)
    return {
        "all": padding.all().item(),
        "first_all": padding[0].all().item(),
        "packed": not (jumps.cumsum(-1)[:, -1] == 0).all().item(),
        "lengths": (ends - starts).tolist(),
        "longest": (ends - starts).max().item(),
        "unpadded": list(padding.flatten().nonzero().shape),
    }


@case
def masked_language_model():
    """Random numbers on the card: others than the real card's, but as many of each kind."""
    ids = torch.randint(5, 30_000, (16, 512), device="cuda")
    chosen = torch.rand(ids.shape, device="cuda") < 0.15
    return {
        "share": chosen.float().mean().item(),
        "range": [ids.min().item(), ids.max().item()],
        "kinds": ids.unique().numel(),
    }


@case
def experts():
    """A mixture of experts as transformers writes it: one pass an expert, of the tokens that it gets."""
    tokens, hidden, count, taken = 4096, 512, 8, 2
    states = large(tokens, hidden)
    scores = F.linear(states, torch.randn(count, hidden, device="cuda")).float().softmax(-1)
    _, chosen = torch.topk(scores, taken, dim=-1)
    mask = F.one_hot(chosen, count).permute(2, 1, 0)
    hit = torch.greater(mask.sum((-1, -2)), 0).nonzero()
    rows = []
    for expert in hit:
        slot, token = torch.where(mask[expert[0]])
        rows.append(states[token].shape[0])
        assert slot.max().item() < taken
    order = chosen.flatten().argsort()
    counts = torch.histc(chosen.flatten().int(), bins=count, min=0, max=count - 1)
    return {
        "rows": rows,
        "counts": counts.tolist(),
        "offsets": counts.cumsum(0, dtype=torch.int32).tolist(),
        "ordered": bool((chosen.flatten()[order].diff() >= 0).all()),
        "top1": scores.argmax(-1).bincount(minlength=count).tolist(),
    }


@case
def many_experts():
    """128 experts, 8 for a token: the one-hot mask has 8 million elements."""
    _, chosen = torch.topk(large(8192, 128).softmax(-1), 8, dim=-1)
    mask = F.one_hot(chosen, 128).permute(2, 1, 0)
    hit = torch.greater(mask.sum((-1, -2)), 0).nonzero()
    return {"hit": hit.numel(), "first": torch.where(mask[hit[0, 0]])[0].numel()}


@case
def grouped_experts():
    """Routing limited to groups of experts (DeepSeek): the best groups first, then the best in them."""
    scores = large(2048, 64).sigmoid()
    groups = scores.view(2048, 8, 8).topk(2, dim=-1)[0].sum(-1).topk(4, dim=-1)[1]
    mask = torch.zeros(2048, 8, device="cuda").scatter_(1, groups, 1)
    _, chosen = scores.masked_fill(mask.unsqueeze(-1).expand(-1, -1, 8).reshape(2048, -1) == 0, 0.0).topk(6, dim=-1)
    return {
        "groups": mask.sum(-1).unique().tolist(),
        "counts": chosen.flatten().bincount(minlength=64).unique().tolist(),
    }


def main():
    note = vramwise_values.load(torch)
    assert note is None, note
    found = {}
    for name, function in CASES.items():
        try:
            found[name] = function()
        except Exception as error:
            found[name] = repr(error)
    print(json.dumps({**found, "report": vramwise_values.report()}))


if __name__ == "__main__":
    main()
