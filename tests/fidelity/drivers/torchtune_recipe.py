"""A torchtune recipe out of its package, with the published configuration; what it loads and reads is stood in for.

The recipe's checkpointer, tokenizer and packed data set are components that a configuration names, so it names the
ones of this file: untouched memory for weights, and token sequences of the packed length (packed data are always full).
The recipe logs its peaks after every step and resets them; what is kept is the largest of the steps after the first.
"""

import argparse
import importlib
import importlib.util
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("--recipe", required=True, help="e.g. full_finetune_single_device")
parser.add_argument("--config", required=True, help="file below torchtune's recipes/configs")
parser.add_argument("--plain_model", required=True, help="builder of the model without adapters: what a checkpoint has")
parser.add_argument("--length", type=int, required=True)
parser.add_argument("--devices", type=int, default=1)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("overrides", nargs="*", help="key=value, as on torchtune's command line")
STEPS = []


def builder(name):
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


class Checkpointer:
    """The keys of a model without adapters, as memory that nobody wrote to."""

    def __init__(self, plain_model, **unused):
        self.plain_model = plain_model

    def load_checkpoint(self):
        import peaks
        import torch

        with torch.device("meta"):
            model = builder(self.plain_model)()
        return {"model": peaks.untouched_weights(model, torch.bfloat16)}

    def save_checkpoint(self, *unused, **also_unused):
        pass


class Tokenizer:
    pad_id, max_seq_len = 0, None

    def __init__(self, **unused):
        pass


class Packed:
    """Full packs of four samples each, in the form of torchtune's PackedDataset."""

    def __init__(self, tokenizer, length, packed=True):
        self.length = length

    def __len__(self):
        return 64

    def __getitem__(self, index):
        import torch

        tokens, part = torch.full((self.length,), 7), self.length // 4
        return {
            "tokens": tokens,
            "labels": tokens.clone(),
            "input_pos": torch.arange(part).repeat(4),
            "seq_lens": torch.full((4,), part),
        }


class Logger:
    def __init__(self, **unused):
        pass

    def log_config(self, config):
        pass

    def log(self, *unused):
        pass

    def log_dict(self, values, step):
        STEPS.append({name: value for name, value in values.items() if name.startswith("peak_memory")})

    def close(self):
        pass


def main():
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))
    sys.modules["torchtune_recipe"] = sys.modules["__main__"]  # the configuration names classes of this file
    import one_rank
    import peaks
    from omegaconf import OmegaConf

    if args.devices > 1:
        one_rank.pretend(args.devices)
    recipes = pathlib.Path(importlib.import_module("torchtune").__file__).parent.parent / "recipes"
    mine = {
        "checkpointer": {"_component_": "torchtune_recipe.Checkpointer", "plain_model": args.plain_model},
        "tokenizer": {"_component_": "torchtune_recipe.Tokenizer"},
        "dataset": {"_component_": "torchtune_recipe.Packed", "length": args.length, "packed": True},
        "metric_logger": {"_component_": "torchtune_recipe.Logger"},
    }
    config = OmegaConf.load(recipes / "configs" / args.config)
    for name, component in mine.items():
        config[name] = component
    settings = ["epochs=1", f"max_steps_per_epoch={args.steps}", "log_every_n_steps=1", "log_peak_memory_stats=True"]
    # As on torchtune's command line, another component keeps what the file says about the first.
    components = ("loss=", "optimizer=")
    overrides = [o.replace("=", "._component_=", 1) if o.startswith(components) else o for o in args.overrides]
    config = OmegaConf.merge(config, OmegaConf.from_dotlist([*settings, *overrides]))
    OmegaConf.resolve(config)
    print(OmegaConf.to_yaml(config))
    specification = importlib.util.spec_from_file_location(args.recipe, recipes / f"{args.recipe}.py")
    recipe = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(recipe)
    recipe.recipe_main.__wrapped__(config)
    print(json.dumps(STEPS))
    later = STEPS[1:]
    gib = 2**30 if max(step["peak_memory_reserved"] for step in later) < 1 << 20 else 1
    largest = {name: round(max(step[name] for step in later) * gib) for name in later[0]}
    peaks.finish(
        "torchtune",
        "torchao",
        "bitsandbytes",
        allocated=largest["peak_memory_alloc"],
        active=largest["peak_memory_active"],
        reserved=largest["peak_memory_reserved"],
    )


if __name__ == "__main__":
    main()
