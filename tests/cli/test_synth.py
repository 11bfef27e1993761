"""vramwise synth: files, figures and refusals as a user meets them."""

import json

FILES = {"synth.json", "train.txt", "val.txt"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_writes_a_corpus_and_tells_its_floor(vramwise, tmp_path):
    out = tmp_path / "corpus"
    made = vramwise("synth", "--out", out, "--bytes", "64kb")
    assert made.returncode == 0, made.stderr
    assert names(out) == FILES
    about = json.loads((out / "synth.json").read_text())
    assert f"{about['floor_nats_per_token']:.4f} nats a byte" in made.stdout
    assert 64 * 1024 <= about["train_bytes"] < 64 * 1024 + 20
    assert (out / "train.txt").stat().st_size == about["train_bytes"]


def test_json_is_the_content_of_synth_json(vramwise, tmp_path):
    made = vramwise("synth", "--out", tmp_path / "corpus", "--bytes", 10_000, "--seed", 5, "--json")
    assert json.loads(made.stdout) == json.loads((tmp_path / "corpus" / "synth.json").read_text())
    assert json.loads(made.stdout)["seed"] == 5


def test_more_successors_are_a_higher_floor(vramwise, tmp_path):
    def floor(successors):
        made = vramwise(
            "synth", "--out", tmp_path / str(successors), "--bytes", 10_000, "--successors", successors, "--json"
        )
        return json.loads(made.stdout)["floor_nats_per_token"]

    assert floor(2) < floor(6) < floor(40)


def test_somebody_elses_folder_is_left_alone(vramwise, tmp_path):
    (tmp_path / "train.txt").write_text("my novel")
    refused = vramwise("synth", "--out", tmp_path)
    assert refused.returncode == 2
    assert "already holds something else: train.txt" in refused.stderr
    assert "--force" in refused.stderr
    assert (tmp_path / "train.txt").read_text() == "my novel"
    assert vramwise("synth", "--out", tmp_path, "--bytes", 10_000, "--force").returncode == 0
    assert names(tmp_path) == FILES


def test_bad_values_are_usage_errors(vramwise, tmp_path):
    for flags in (
        ["--words", 3],
        ["--words", "many"],
        ["--successors", 48],
        ["--bytes", 100],
        ["--bytes", "4 parsecs"],
    ):
        refused = vramwise("synth", "--out", tmp_path / "corpus", *flags)
        assert refused.returncode == 2, (flags, refused.stderr)
        assert refused.stderr, flags
    assert not (tmp_path / "corpus").exists()


def test_a_folder_that_cannot_be_made_is_the_worlds_fault(vramwise, tmp_path):
    (tmp_path / "file").write_text("")
    assert vramwise("synth", "--out", tmp_path / "file" / "corpus").returncode == 4
