import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import machine


@pytest.fixture(scope="session", autouse=True)
def _needs_emulator():
    pytest.importorskip("torch")
    if machine.emulator() is None:
        pytest.skip("the emulator is not built: ninja emulator_library")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """run(command, cards, …) on emulated cards; a call that was made before is not made again."""
    seen = {}

    def run(command, cards, again=0, **options):
        key = repr((command, cards, again, sorted(options.items())))
        if key not in seen:
            seen[key] = machine.run(command, cards, tmp_path_factory.mktemp("run"), **options)
        return seen[key]

    return run
