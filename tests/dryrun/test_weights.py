"""Large host tensors are neither computed nor read; missing checkpoints are made up."""

import json

import machine
import pytest

HOOK = machine.ROOT / "src" / "dryrun" / "hook"


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    outcome = machine.run("weights.py", ["hopper"], folder, env={"PYTHONPATH": str(HOOK), "VRAMWISE_STEPS": "0"})
    return outcome.result


@pytest.mark.parametrize("case", ["built", "initialised", "converted", "moved", "zeros", "loaded", "safetensors"])
def test_a_gigabyte_of_weights_takes_no_host_memory(result, case):
    # The first use of CUDA, and the emulator's budget of 512 MiB for what is really copied, are in `moved`.
    assert result[case]["mib"] < (600 if case == "moved" else 120)


def test_shapes_types_and_small_values_are_true(result):
    assert result["converted"]["value"] == "torch.bfloat16"
    assert result["moved"]["value"] == 8 * 8192 * 8192 * 2 >> 20
    assert result["zeros"]["value"] == [0.0, 0.0, 1 << 28]
    assert result["loaded"]["value"] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert result["safetensors"]["value"] == ["torch.float16", 1 << 26, [0.0, 1.0, 2.0, 3.0, 4.0], 3.0]
    assert result["small"]["value"] == [True, True]


def test_what_was_not_computed_is_saved_as_a_hole(result):
    found = result["saved"]["value"]
    assert all(1 << 29 <= size < (1 << 29) + 8192 for size in found["sizes"])
    assert all(size < 1 << 20 for size in found["on_disk"])
    assert found["small"] == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 2
    assert found["large"] == [1 << 27] * 2
    assert found["devices"] == ["cuda", "cpu"]
    assert result["saved"]["mib"] < 120


def test_compiled_code_sees_through(result):
    assert result["compiled"]["value"] == 3 * 4 * 7


@pytest.fixture
def fakes(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(HOOK))
    monkeypatch.setenv("VRAMWISE_LEDGER_DIR", str(tmp_path))
    from vramwise_hook import weights_fake

    return weights_fake


def test_a_missing_checkpoint_is_made_up_in_files_that_take_no_room(fakes, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    from safetensors import safe_open

    class Library:
        @classmethod
        def from_pretrained(cls, name, **options):
            return name, options

    with torch.device("meta"):
        state = {f"layer.{i}": torch.empty(1 << 15, 1 << 15, dtype=torch.bfloat16) for i in range(3)}
    fakes._wrap(Library, lambda cls, name, options: (state, lambda folder: None), "model")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "config.json").write_text("{}")
    folder, options = Library.from_pretrained(str(tmp_path / "there"), revision="main", dtype=torch.float16)
    assert options == {"dtype": torch.float16}
    assert "6.0 GiB are made up" in capsys.readouterr().err
    files = sorted(p.name for p in (tmp_path / folder).iterdir())
    assert files == [*(f"model-0000{i}-of-00002.safetensors" for i in (1, 2)), "model.safetensors.index.json"]
    with safe_open(f"{folder}/{files[1]}", "pt") as shard:
        assert shard.get_slice("layer.2").get_shape() == [1 << 15, 1 << 15]
        assert shard.get_tensor("layer.2")[5, 7].item() == 0
    assert sum(p.stat().st_blocks for p in (tmp_path / folder).iterdir()) * 512 < 1 << 20


def test_a_checkpoint_that_is_there_is_used(fakes, tmp_path):
    def refuse(*_):
        raise AssertionError("nothing is to be made up")

    class Library:
        @classmethod
        def from_pretrained(cls, name, **options):
            return name

    fakes._wrap(Library, refuse, "model")
    (tmp_path / "model.safetensors").touch()
    assert Library.from_pretrained(str(tmp_path)) == str(tmp_path)
    # An index whose shards are missing is no checkpoint.
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    assert not fakes._has_weights(str(tmp_path), {}, ".safetensors")
