"""Loads the extension that keeps true values on emulated cards, and builds it first where that is needed.

    import torch, vramwise_values
    note = vramwise_values.load(torch)     # None: values are true; else a sentence why they are not
    ...
    vramwise_values.report()               # a dict (docs/emulator.md, "What device memory contains"), or None

It is compiled against the program's own torch, whose headers come with its wheel: once for each torch and each version
of these sources. Looked for, in this order:
    VRAMWISE_VALUES        a library that fits this torch, or "off"
    VRAMWISE_VALUES_DIR    a folder with libraries built before, named as library_name() says
    $XDG_CACHE_HOME/vramwise/values (~/.cache without it)      what was built here earlier; a new one is put there
For a C++ program, whose libtorch nothing tells:
    python3 vramwise_values.py LIBTORCH_FOLDER [old]       builds it and prints where; old: the C++ ABI before GCC 5
preloads the result itself, beside the emulator (LD_PRELOAD), with libtorch's folder on LD_LIBRARY_PATH.
The sources lie in the folder extension beside this file. A C++ compiler is taken from CXX, else c++, g++ or clang++.
"""

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

_HERE = os.path.dirname(os.path.abspath(__file__))
_EXTENSION = os.path.join(_HERE, "extension")
_library = None


def _sources():
    names = sorted(
        name for name in os.listdir(_EXTENSION) if name.endswith((".cc", ".h")) and not name.endswith("_test.cc")
    )
    return [os.path.join(_EXTENSION, name) for name in names]


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def library_name(version, new_abi):
    """The file's name: by torch, C++ ABI and a hash of these sources."""
    each = "".join(hashlib.sha256(_read(path)).hexdigest() for path in _sources())
    digest = hashlib.sha256(each.encode()).hexdigest()[:12]
    return f"libvramwise_values-{version}-{'new' if new_abi else 'old'}-{digest}.so"


def _compiler():
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (found := shutil.which(name)):
            return found
    return None


def _cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "vramwise", "values")


def _flags(torch_root, new_abi):
    include = os.path.join(torch_root, "include")
    return [
        *("-std=c++20", "-O2", "-fPIC", "-shared", "-w", "-DNDEBUG", f"-D_GLIBCXX_USE_CXX11_ABI={int(new_abi)}"),
        *("-fvisibility=hidden", "-fvisibility-inlines-hidden"),
        *("-isystem", include, "-isystem", os.path.join(include, "torch", "csrc", "api", "include")),
    ]


def build(torch_root, new_abi, target):
    """Compiles the extension into `target`; raises OSError or subprocess.SubprocessError with the reason."""
    compiler = _compiler()
    if compiler is None:
        raise OSError("no C++ compiler was found (set CXX, or install g++)")
    print("vramwise: building what keeps true values for this torch (once; some 15 s)", file=sys.stderr, flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vramwise-values-") as folder:
        # One translation unit: PyTorch's headers are most of the work. The sources include each other as "values/…".
        os.symlink(_HERE, os.path.join(folder, "values"))
        unit = os.path.join(folder, "unit.cc")
        with open(unit, "w", encoding="utf-8") as file:
            file.writelines(f'#include "{path}"\n' for path in _sources() if path.endswith(".cc"))
        part = f"{target}.{os.getpid()}"
        libraries = os.path.join(torch_root, "lib")
        command = [compiler, *_flags(torch_root, new_abi), f"-I{folder}", unit, "-o", part]
        command += [f"-L{libraries}", "-ltorch_cpu", "-lc10", "-Wl,--allow-shlib-undefined", "-Wl,-Bsymbolic"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            raise OSError(f"{compiler} failed: {errors[0].strip() if errors else done.returncode}")
        os.replace(part, target)  # whole or not at all, also when several processes build at once
    return target


def _find_or_build(torch):
    if named := os.environ.get("VRAMWISE_VALUES"):
        return named
    new_abi = bool(torch._C._GLIBCXX_USE_CXX11_ABI)
    name = library_name(torch.__version__, new_abi)
    if folder := os.environ.get("VRAMWISE_VALUES_DIR"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    path = os.path.join(_cache_folder(), name)
    return path if os.path.exists(path) else build(os.path.dirname(torch.__file__), new_abi, path)


def load(torch):
    """Loads the extension into this process. None, or why values are not true here (the dry run goes on without)."""
    global _library
    if os.environ.get("VRAMWISE_VALUES") == "off":
        return "values were switched off (VRAMWISE_VALUES=off)"
    if not hasattr(ctypes.CDLL(None), "vramwise_emulator_host_access"):
        return "there is no emulated device in this process"
    try:
        library = ctypes.CDLL(_find_or_build(torch))
    except (OSError, subprocess.SubprocessError) as error:
        return f"the extension for torch {torch.__version__} could not be had: {error}"
    library.vramwise_values_report.restype = ctypes.c_char_p
    if not library.vramwise_values_active():
        return "the emulated device and the extension do not fit together"
    _library = library
    return None


def report():
    """What the values of this run rest on, or None where the extension is not loaded."""
    return json.loads(_library.vramwise_values_report()) if _library else None


def main(arguments):
    if not arguments or len(arguments) > 2:
        sys.exit(__doc__)
    root, new_abi = os.path.abspath(arguments[0]), arguments[1:] != ["old"]
    version_file = os.path.join(root, "build-version")
    version = (
        _read(version_file).decode().strip()
        if os.path.exists(version_file)
        else hashlib.sha256(root.encode()).hexdigest()[:8]
    )
    target = os.path.join(_cache_folder(), library_name(version, new_abi))
    print(target if os.path.exists(target) else build(root, new_abi, target))


if __name__ == "__main__":
    main(sys.argv[1:])
