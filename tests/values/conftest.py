import importlib.util
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "dryrun"))
import machine

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = machine.ROOT / "src" / "values"


def extension_folder():
    """VRAMWISE_VALUES_DIR, or the newest folder of this tree's builds that has the extension."""
    if path := os.environ.get("VRAMWISE_VALUES_DIR"):
        return pathlib.Path(path)
    built = sorted(machine.ROOT.glob("build/*/lib/values/*.so"), key=lambda path: path.stat().st_mtime)
    return built[-1].parent if built else None


@pytest.fixture(scope="session")
def with_values(tmp_path_factory):
    """run(script, card, *arguments, **environment): a script of this folder on an emulated card, with true values."""
    pytest.importorskip("torch")
    if machine.emulator() is None or extension_folder() is None:
        pytest.skip("not built: ninja emulator_library values_library")
    seen = {}

    def run(script, card, *arguments, machine_options=None, **environment):
        key = repr((script, card, arguments, machine_options, sorted(environment.items())))
        if key not in seen:
            settings = {
                "PYTHONPATH": str(SOURCES),
                "VRAMWISE_VALUES_DIR": str(extension_folder()),
                "XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp() / "cache"),
                "HF_HUB_OFFLINE": "1",
                **environment,
            }
            command = [sys.executable, str(HERE / "scripts" / script), *arguments]
            folder = tmp_path_factory.mktemp("run")
            seen[key] = machine.run(command, [card], folder, env=settings, machine=machine_options, timeout=600)
        return seen[key]

    return run


@pytest.fixture(scope="session")
def traces_in(tmp_path_factory):
    return {fill: tmp_path_factory.mktemp(f"fill{fill}") for fill in (0, 1)}


@pytest.fixture(scope="session")
def together(with_values, traces_in):
    """What each script printed that needs no setting of its own: {name: result}, all in one process."""
    scripts = [f"traced:{traces_in[0]}", "operations", "control_flow", "collectives"]
    if importlib.util.find_spec("transformers"):
        scripts.append("models")
    return with_values("together.py", "hopper", *scripts, WORLD_SIZE="4", RANK="0", VRAMWISE_FILL="0").result


@pytest.fixture(scope="session")
def otherwise(with_values, traces_in):
    """Those that settings change: skipped memory reads as ones, the worst routing, little host memory."""
    settings = {"VRAMWISE_FILL": "1", "VRAMWISE_ROUTING": "worst"}
    budget = {"resident_budget_bytes": 128 << 20}
    scripts = [f"traced:{traces_in[1]}", "control_flow"]
    return with_values("together.py", "hopper", *scripts, machine_options=budget, **settings).result


@pytest.fixture(scope="session")
def of():
    """One script's result; what went wrong in it is the test's error."""

    def result(results, name):
        assert "error" not in results[name], results[name]["error"]
        return results[name]

    return result
