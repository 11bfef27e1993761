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


@pytest.fixture(scope="session")
def dryrun():
    """dryrun(arguments…, torch=True): `vramwise dryrun` with them, finished."""
    if machine.program() is None:
        pytest.skip("vramwise is not built beside the emulator")
    return machine.dryrun


@pytest.fixture(scope="session")
def writes(dryrun):
    """What to add where this machine can't throw away what a program writes."""
    refused = "--allow-writes" in dryrun("--gpu", "rtx-3090", "--", "true", torch=False).stderr
    return ["--allow-writes"] if refused else []
