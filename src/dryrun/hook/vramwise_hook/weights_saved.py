"""Large tensors that nobody computed are saved as holes: the files have their true size, their names and their small
tensors, can be loaded again, and take no room.
"""

import json
import os

from . import weights


def for_torch(torch):
    """torch.save to a path, where the writer can leave out a record's bytes (PyTorch 2.6 and later)."""
    serialization = torch.serialization
    original, original_cpu = serialization._save, torch.UntypedStorage.cpu

    def save(obj, zip_file, *arguments, **options):
        return original(obj, _WithHoles(zip_file), *arguments, **options)

    def cpu(self):
        copied = original_cpu(self)
        if self.device.type == "cuda" and self.nbytes() >= weights.INITIALISED:
            setattr(copied, weights.MARK, True)
        return copied

    if hasattr(torch._C.PyTorchFileWriter, "write_record_metadata"):
        serialization._save, torch.UntypedStorage.cpu = save, cpu


class _WithHoles:
    """A PyTorchFileWriter that leaves large records of unread storages empty."""

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write_record(self, name, data, size):
        if size >= weights.INITIALISED and getattr(data, weights.MARK, False):
            return self._file.write_record_metadata(name, size)
        return self._file.write_record(name, data, size)


def for_safetensors(safetensors):
    original = safetensors.save_file

    def save_file(tensors, filename, metadata=None):
        if not all(weights.is_plain(tensor) for tensor in tensors.values()) or not any(
            _left_out(tensor) for tensor in tensors.values()
        ):
            return original(tensors, filename, metadata)
        _write(tensors, filename, metadata)

    safetensors.save_file = save_file


def _left_out(tensor):
    return weights.unread(tensor) or (tensor.device.type == "cuda" and tensor.nbytes >= weights.INITIALISED)


def _write(tensors, filename, metadata):
    import torch

    header, end = {"__metadata__": metadata} if metadata else {}, 0
    for name, tensor in tensors.items():
        kind = weights.SAFETENSORS_TYPES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    start = write_header(filename, header, end)
    with open(filename, "r+b") as file:
        for name, tensor in tensors.items():
            if not _left_out(tensor) and tensor.nbytes:
                file.seek(start + header[name]["data_offsets"][0])
                file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def write_header(path, header, size):
    """A safetensors file with `size` bytes of holes. Where its data begins."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    return os.path.getsize(path) - size
