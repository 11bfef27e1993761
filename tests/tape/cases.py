"""Random programs of ops: one op each, in random types, shapes (odd ones too), layouts and requires-grad patterns."""

import random

import cases_basic as basic
import cases_images as images
import cases_network as network
from maker import Maker

CASES = {
    **{op: basic.binary(op) for op in ("add", "sub", "mul", "div")},
    "rsub": basic.unary("rsub", value=1.0),
    "pow": basic.powers,
    **{
        op: basic.unary(op)
        for op in (
            *("neg", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tanh", "sigmoid", "silu", "relu"),
            *("gelu", "gelu_tanh", "clone", "contiguous"),
        )
    },
    "to": basic.cast,
    "sum": basic.reduction("sum"),
    "mean": basic.reduction("mean"),
    "reshape": basic.reshaping,
    "flatten": basic.flattening,
    **{
        op: basic.moving(op)
        for op in ("transpose", "permute", "unsqueeze", "squeeze", "slice", "select", "narrow", "expand")
    },
    "split": basic.splitting("split"),
    "chunk": basic.splitting("chunk"),
    "cat": basic.joining("cat"),
    "stack": basic.joining("stack"),
    **{op: basic.matrices(op) for op in ("mm", "bmm", "addmm", "baddbmm")},
    "matmul": basic.products,
    "linear": basic.linear,
    "meeting": basic.meeting,
    "softmax": network.softmaxes("softmax"),
    "log_softmax": network.softmaxes("log_softmax"),
    "nll_loss": network.losses("nll_loss"),
    "cross_entropy": network.losses("cross_entropy"),
    "mse_loss": network.distances,
    "layer_norm": network.layer_norms,
    "rms_norm": network.rms_norms,
    "group_norm": network.group_norms,
    "conv2d": images.convolutions,
    "batch_norm": images.batch_norms,
    "max_pool2d": images.max_pools,
    "average_pool": images.average_pools,
    "upsample_nearest": images.upsamplings,
    "embedding": network.embeddings,
    "dropout": network.dropouts,
    "where": network.choices,
    "masked_fill": network.fillings,
    "lt": network.comparisons,
    "cumsum": network.along("cumsum"),
    "gather": network.gatherings,
    "index_select": network.selections,
    "index_first": network.indexing,
    "topk": network.largest,
    "sort": network.sortings,
    "histc": network.countings,
    "grouped_mm": network.groupings,
    "div_": network.quotients_in_place,
    "attention": network.attentions,
    "optimizer": network.optimizing,
    "block": network.blocks,
}


def autocasting(rng, kind, case):
    """Some of the cases run under autocast."""
    if rng.random() < 0.2 and "optimizer" not in case and "autocast" not in case and kind != "lt":
        case["autocast"] = rng.choice(["bfloat16", "float16"])
    return case


def draw(seed, each, only=None):
    """`each` cases of every kind (or of those named in `only`): a list of (kind, case)."""
    rng = random.Random(seed)
    kinds = [k for k in CASES if only is None or k in only]
    return [(kind, autocasting(rng, kind, CASES[kind](Maker(rng)))) for kind in kinds for _ in range(each)]
