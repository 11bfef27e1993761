"""Zeros that a program writes become holes, and every file reads as without that."""

import hashlib
import os
import subprocess
import sys

import machine
import pytest

WRITER = """
import os, random, sys
folder, seed = sys.argv[1], int(sys.argv[2])
random.seed(seed)
def block():
    size = random.choice([0, 1, 4096, 65536, 100_000, 1 << 20, (1 << 20) + 7, 3 << 20])
    kind = random.choice(["zeros", "zeros", "data", "mixed"])
    if kind == "zeros":
        return bytes(size)
    data = random.randbytes(min(size, 200_000))
    return data.ljust(size, b"\\0") if kind == "data" else (bytes(size // 2) + data).ljust(size, b"\\0")
for number in range(6):
    name = os.path.join(folder, str(number))
    mode = ["wb", "ab", "r+b"][number % 3]
    if mode == "r+b":
        open(name, "wb").write(random.randbytes(2 << 20))
    with open(name, mode, buffering=0) as file:
        for _ in range(8):
            part = block()
            if number % 2 and mode != "ab":
                assert os.writev(file.fileno(), [part[:10], part[10:]]) == len(part)
            else:
                assert file.write(part) == len(part)
            if random.random() < 0.3:
                file.seek(random.randrange(4 << 20))
            if random.random() < 0.3:
                assert os.pwrite(file.fileno(), part, random.randrange(30 << 20)) == len(part)
"""


@pytest.fixture(scope="module")
def library():
    path = machine.emulator().parent / "libvramwise_sparse.so"
    if not path.exists():
        pytest.skip("not built: ninja dryrun_preload")
    return path


def run(code, *arguments, preload=None):
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, check=True)


@pytest.mark.parametrize("seed", range(4))
def test_files_read_the_same(library, tmp_path, seed):
    seen = []
    for preload in (None, library):
        folder = tmp_path / str(bool(preload))
        folder.mkdir()
        run(WRITER, folder, seed, preload=preload)
        seen.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()})
    assert seen[0] == seen[1]


def test_zeros_take_no_room(library, tmp_path):
    code = "import sys; f = open(sys.argv[1], 'wb'); f.write(b'head'); f.write(bytes(1 << 28)); f.write(b'tail')"
    run(code, tmp_path / "file", preload=library)
    status = (tmp_path / "file").stat()
    assert status.st_size == (1 << 28) + 8
    if status.st_blocks * 512 > 1 << 28:
        pytest.skip("this file system keeps no holes")
    assert status.st_blocks * 512 < 1 << 20


def test_a_checkpoint_of_zeros_loads(library, tmp_path):
    torch = pytest.importorskip("torch")
    code = "import sys, torch; torch.save({'a': torch.zeros(1 << 24), 'b': torch.arange(5)}, sys.argv[1])"
    run(code, tmp_path / "model.pt", preload=library)
    loaded = torch.load(tmp_path / "model.pt")
    assert loaded["a"].shape == (1 << 24,)
    assert not loaded["a"].any()
    assert loaded["b"].tolist() == [0, 1, 2, 3, 4]
    assert (tmp_path / "model.pt").stat().st_blocks * 512 < 1 << 22


def test_what_is_no_file_is_left_alone(library):
    code = """
import os
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, bytes(1 << 21))
    os._exit(0)
os.close(w)
n = 0
while data := os.read(r, 1 << 16):
    n += len(data)
assert n == 1 << 21
"""
    run(code, preload=library)
