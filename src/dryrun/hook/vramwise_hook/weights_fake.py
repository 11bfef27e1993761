"""Checkpoints that are missing: `from_pretrained` with a configuration alone.

The model is laid out on the meta device, and files with its tensors' names and shapes but nothing in them (holes, which
read as zeros) are given to the library's own loading, so that devices, types and quantization go their usual way.
"""

import copy
import json
import os
import pathlib
import sys
import tempfile

from . import weights, weights_saved

_SHARD = 4 << 30  # bytes: a mapping larger than the machine's memory may be refused
_WHERE = ("subfolder", "revision", "cache_dir", "token", "local_files_only", "trust_remote_code")


def for_transformers(modeling):
    import torch

    def lay_out(cls, name, options):
        config = options.get("config")
        if not hasattr(config, "to_dict"):
            config = cls.config_class.from_pretrained(config or name, **_where(options))
        dtype = getattr(config, "dtype", None) or getattr(config, "torch_dtype", None) or torch.float32
        default = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        try:
            model = cls(copy.deepcopy(config))
            return _names_on_disk(model, _untied(model)), config.save_pretrained
        finally:
            torch.set_default_dtype(default)

    _wrap(modeling.PreTrainedModel, lay_out, "model")


def for_diffusers(modeling):
    def lay_out(cls, name, options):
        model = cls.from_config(cls.load_config(name, **_where(options)))
        return model.state_dict(), model.save_config

    _wrap(modeling.ModelMixin, lay_out, "diffusion_pytorch_model")


def _where(options):
    return {key: options[key] for key in _WHERE if options.get(key) is not None}


def _wrap(owner, lay_out, stem):
    original = owner.from_pretrained.__func__

    def from_pretrained(cls, name, *arguments, **options):
        told = options.get("state_dict") or options.get("gguf_file")
        if name is None or told or _has_weights(name, options, ".safetensors"):
            return original(cls, name, *arguments, **options)
        import torch

        with torch.device("meta"):
            state, save_config = lay_out(cls, name, options)
        folder = tempfile.mkdtemp(prefix="weights", dir=os.environ["VRAMWISE_LEDGER_DIR"])
        save_config(folder)
        size = _write(state, folder, stem)
        print(f"vramwise: the weights of {name} are not here, {size / 2**30:.1f} GiB are made up", file=sys.stderr)
        kept = {key: value for key, value in options.items() if key not in ("subfolder", "revision", "variant")}
        return original(cls, folder, *arguments, **kept)

    owner.from_pretrained = classmethod(from_pretrained)


def _has_weights(name, options, suffix):
    folder = os.path.join(name, options.get("subfolder") or "")
    if not os.path.isdir(folder):
        from huggingface_hub import try_to_load_from_cache

        config = os.path.join(options.get("subfolder") or "", "config.json")
        where = {key: options[key] for key in ("cache_dir", "revision") if options.get(key) is not None}
        found = try_to_load_from_cache(str(name), config, **where)
        if not isinstance(found, str):
            return False
        folder = os.path.dirname(found)
    files = set(os.listdir(folder))
    for index in (file for file in files if file.endswith(".index.json")):
        if not set(json.loads(pathlib.Path(folder, index).read_text())["weight_map"].values()) <= files:
            return False
    return any(file.endswith((suffix, ".bin")) for file in files)


def _untied(model):
    """A checkpoint has no tensor twice."""
    state = model.state_dict()
    if getattr(model.config, "tie_word_embeddings", False):
        for tied in getattr(model, "_tied_weights_keys", None) or ():
            state.pop(tied, None)
    return state


def _names_on_disk(model, state):
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # before transformers 5 a model has the names of its checkpoint
        return state
    return revert_weight_conversion(model, state)


def _write(state, folder, stem):
    """Files with a header and a hole. Their size in bytes."""
    shards, total = [[]], 0
    filled = 0
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > _SHARD:
            shards.append([])
            filled = 0
        shards[-1].append((name, tensor, size))
        filled += size
        total += size
    files = {}
    for number, shard in enumerate(shards, 1):
        file = f"{stem}-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else f"{stem}.safetensors"
        _write_shard(os.path.join(folder, file), shard)
        files.update({name: file for name, _, _ in shard})
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": files}
        pathlib.Path(folder, f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    return total


def _write_shard(path, shard):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor, size in shard:
        kind = weights.SAFETENSORS_TYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    weights_saved.write_header(path, header, end)
