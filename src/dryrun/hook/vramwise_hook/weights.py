"""Large weights in host memory are neither computed nor read: on the card nobody would look at them.

Random initialisation of a large tensor is left out, so its pages stay unmapped. Such a tensor's storage, and that of a
mapped checkpoint, is *unread*: converting or copying it on the host gives new unread memory.
"""

import functools
import importlib
import os
import sys

from . import imports

INITIALISED = 4 << 20  # bytes from which a tensor is not initialised
_CREATED = 64 << 20  # … and from which a new one is not written: the C library maps such a size, so it reads as zeros
MARK = "vramwise_unread"
SAFETENSORS_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def install():
    imports.after("torch", _leave_out)
    imports.after("torch", lambda torch: _module("weights_saved").for_torch(torch))
    imports.after("safetensors.torch", lambda module: _module("weights_saved").for_safetensors(module))
    if os.environ.get("VRAMWISE_FAKE_WEIGHTS") == "1":
        imports.after("transformers.modeling_utils", lambda module: _module("weights_fake").for_transformers(module))
        imports.after("diffusers.models.modeling_utils", lambda module: _module("weights_fake").for_diffusers(module))


def _module(name):
    return importlib.import_module(f".{name}", __package__)


def _leave_out(torch):
    for name in ("normal_", "uniform_", "log_normal_", "exponential_", "cauchy_"):
        _replace(torch.Tensor, name, _random)
    for name in ("erfinv_", "mul_", "div_", "add_", "sub_", "clamp_", "fill_", "zero_"):
        _replace(torch.Tensor, name, _in_place)
    for name, dtype in {"half": torch.half, "bfloat16": torch.bfloat16, "float": torch.float}.items():
        _replace(torch.Tensor, name, functools.partial(_convert, dtype))
    for name, wrap in {
        "to": _to,
        "clone": _clone,
        "contiguous": _contiguous,
        "copy_": _copy,
        "pin_memory": _pin,
    }.items():
        _replace(torch.Tensor, name, wrap)
    for name in ("randn", "rand", "zeros"):
        _replace(torch, name, _factory)
    _replace(torch.nn.init, "orthogonal_", _orthogonal)
    _replace(torch.UntypedStorage, "clone", _clone_storage)
    _replace(torch.UntypedStorage, "__getitem__", _part_of_storage)
    _replace(torch, "load", _load)
    torch.UntypedStorage.from_file = staticmethod(_from_file(torch.UntypedStorage.from_file))


def _replace(owner, name, wrap):
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(wrap(original)))


def _torch():
    return sys.modules["torch"]


def is_plain(tensor):
    """Of no subclass with a life of its own."""
    torch = _torch()
    return type(tensor) in (torch.Tensor, torch.nn.Parameter)


def _large(tensor):
    torch = _torch()
    if not is_plain(tensor) or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() >= INITIALISED and tensor.layout == torch.strided


def unread(tensor):
    return _large(tensor) and getattr(tensor.untyped_storage(), MARK, False)


def _mark(tensor):
    if _large(tensor):
        storage = tensor.untyped_storage()
        if storage.nbytes() == tensor.numel() * tensor.element_size():
            setattr(storage, MARK, True)
    return tensor


def _may_leave_out(tensor):
    return unread(tensor) and not (tensor.requires_grad and _torch().is_grad_enabled())


# ---- values


def _random(original):
    def fill(self, *arguments, **options):
        if not _large(self) or not self.is_floating_point():
            return original(self, *arguments, **options)
        original(_torch().empty(16), *arguments, **options)  # the generator moves on, if not as far
        return _mark(self)

    return fill


def _in_place(original):
    def change(self, *arguments, **options):
        if self.device.type == "cpu" and _may_leave_out(self):
            return self
        return original(self, *arguments, **options)

    return change


def _factory(original):
    def make(*size, **options):
        torch = _torch()
        if torch.compiler.is_compiling() or options.get("out") is not None or options.get("pin_memory"):
            return original(*size, **options)
        if torch.device(options.get("device") or torch.get_default_device()).type != "cpu":
            return original(*size, **options)
        shape_only = {name: value for name, value in options.items() if name != "generator"}
        like = original(*size, **{**shape_only, "device": "meta"})
        if like.numel() * like.element_size() < _CREATED or like.layout != torch.strided:
            return original(*size, **options)
        return _mark(torch.empty(like.shape, dtype=like.dtype, device="cpu", requires_grad=like.requires_grad))

    return make


def _orthogonal(original):
    def fill(tensor, *arguments, **options):
        return _mark(tensor) if _large(tensor) else original(tensor, *arguments, **options)

    return fill


# ---- copies


def _new(tensor, **options):
    return _mark(_torch().empty_like(tensor, requires_grad=False, **options))


def _convert(dtype, original):
    def convert(self, *arguments, **options):
        if self.device.type != "cpu" or self.dtype == dtype or not _may_leave_out(self):
            return original(self, *arguments, **options)
        return _new(self, dtype=dtype)

    return convert


def _to(original):
    def to(self, *arguments, **options):
        if self.device.type != "cpu" or not _may_leave_out(self):
            return original(self, *arguments, **options)
        # Another order of the arguments than `copy` last is an error, as it would be without us.
        copy = options.get("copy", False)
        device, dtype, non_blocking, layout = _torch()._C._nn._parse_to(
            *arguments, **{name: value for name, value in options.items() if name != "copy"}
        )
        on_host = device is None or device.type == "cpu"
        source = _new(self, dtype=dtype) if dtype not in (None, self.dtype) else self
        if on_host:
            return _new(self) if copy and source is self else source
        # PyTorch converts on the host, then copies: it would read all of the first and write all of the second.
        return original(source, device, non_blocking=non_blocking, **({"memory_format": layout} if layout else {}))

    return to


def _clone(original):
    def clone(self, **options):
        if self.device.type != "cpu" or not _may_leave_out(self):
            return original(self, **options)
        return _new(self, **options)

    return clone


def _contiguous(original):
    def contiguous(self, *arguments, **options):
        if self.device.type != "cpu" or arguments or options or self.is_contiguous() or not _may_leave_out(self):
            return original(self, *arguments, **options)
        return _new(self, memory_format=_torch().contiguous_format)

    return contiguous


def _copy(original):
    def copy_(self, source, *arguments, **options):
        if source.device.type != "cpu" or not _may_leave_out(source):
            return original(self, source, *arguments, **options)
        if self.device.type == "cpu" and self.shape == source.shape:
            return _mark(self)
        return original(self, source.to(self.dtype), *arguments, **options)

    return copy_


def _pin(original):
    def pin_memory(self, *arguments, **options):
        if self.device.type != "cpu" or not _may_leave_out(self):
            return original(self, *arguments, **options)
        return _mark(_torch().empty(self.shape, dtype=self.dtype, pin_memory=True))

    return pin_memory


# ---- files


def _from_file(original):
    def from_file(filename, *arguments, **options):
        storage = original(filename, *arguments, **options)
        setattr(storage, MARK, True)
        return storage

    return from_file


def _part_of_storage(original):
    def part(self, key):
        found = original(self, key)
        if isinstance(key, slice) and getattr(self, MARK, False):
            setattr(found, MARK, True)
        return found

    return part


def _clone_storage(original):
    def clone(self):
        if self.device.type != "cpu" or not getattr(self, MARK, False):
            return original(self)
        new = type(self)(self.nbytes(), device=self.device)
        setattr(new, MARK, True)
        return new

    return clone


def _load(original):
    def load(f, *arguments, mmap=None, **options):
        if mmap is None and isinstance(f, (str, os.PathLike)) and _is_large_archive(f):
            mmap = True
        return original(f, *arguments, mmap=mmap, **options)

    return load


def _is_large_archive(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04" and os.path.getsize(path) >= INITIALISED
    except OSError:
        return False
