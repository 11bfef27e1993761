"""Parts of the hook by themselves, against stand-ins of the libraries that they meet."""

import importlib
import sys
import threading
import types

import machine
import pytest

sys.path.insert(0, str(machine.ROOT / "src" / "dryrun" / "hook"))
from vramwise_hook import imports, jax, loaders, threads, trainers, uploads

HUB = """
import concurrent.futures

class RepoUrl(str):
    pass

class CommitInfo:
    def __init__(self, commit_url, commit_message, commit_description, oid):
        self.commit_url, self.oid = commit_url, oid

class HfApi:
    sent = []
    def run_as_future(self, function):
        return concurrent.futures.ThreadPoolExecutor(1).submit(function)
    def create_repo(self, repo_id, **options):
        self.sent.append("create_repo")
    def upload_folder(self, **options):
        self.sent.append("upload_folder")
    def delete_repo(self, repo_id):
        self.sent.append("delete_repo")
    def model_info(self, repo_id):
        return "info of " + repo_id

api = HfApi()
create_repo = api.create_repo
upload_folder = api.upload_folder
model_info = api.model_info
"""


@pytest.fixture
def _listening():
    imports.listen()
    yield
    sys.meta_path.pop(0)
    imports._waiting.clear()


@pytest.mark.usefixtures("_listening")
def test_functions_run_after_the_import(tmp_path, monkeypatch, capsys):
    (tmp_path / "awaited_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    imports.after("awaited_module", lambda module: seen.append(module.value))
    imports.after("awaited_module", lambda module: module.absent)
    module = importlib.import_module("awaited_module")
    assert seen == [1]
    assert module.__loader__ is module.__spec__.loader
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert "awaited_module" in capsys.readouterr().err, "an error of ours is told and not raised"
    imports.after("awaited_module", lambda module: seen.append(2))
    assert seen == [1, 2]


@pytest.mark.usefixtures("_listening")
def test_nothing_is_uploaded_and_the_program_gets_its_answers(tmp_path, monkeypatch, capsys):
    (tmp_path / "huggingface_hub").mkdir()
    (tmp_path / "huggingface_hub" / "__init__.py").write_text("")
    (tmp_path / "huggingface_hub" / "hf_api.py").write_text(HUB)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    uploads.install()
    hub = importlib.import_module("huggingface_hub.hf_api")
    assert hub.create_repo("me/model", repo_type="dataset") == "https://huggingface.co/datasets/me/model"
    assert isinstance(hub.create_repo(repo_id="model"), hub.RepoUrl)
    assert hub.upload_folder(repo_id="me/model", folder_path=".").oid == "0" * 40
    assert (
        hub.HfApi().upload_folder(repo_id="me/model", run_as_future=True).result(10).commit_url.startswith("https://")
    )
    assert hub.HfApi().delete_repo("me/model") is None
    assert hub.model_info("me/model") == "info of me/model"
    assert hub.HfApi.sent == []
    assert capsys.readouterr().err.count("upload_folder") == 1
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        del sys.modules[name]


def limited(batches, limit, grad=True):
    torch = types.SimpleNamespace(is_grad_enabled=lambda: grad)
    owner = loaders.Loaders(torch, types.SimpleNamespace(of_this_thread=lambda: owner.training), limit)
    owner.training = types.SimpleNamespace(steps=0, forwards=0, backwards=0, follows_calls=True)

    class Loader:
        dataset = "data"

        def __iter__(self):
            return iter(range(batches))

    owner.install(Loader)
    return owner, Loader


def test_a_loader_ends_after_steps_not_after_batches():
    owner, loader = limited(100, 3)
    seen = 0
    for seen, _ in enumerate(loader(), 1):
        owner.training.backwards += 1
        owner.training.steps += seen % 4 == 0
    assert seen == 12
    assert owner.ended == 1


def test_one_step_is_enough_in_later_epochs():
    owner, loader = limited(100, 5)
    lengths = []
    for _ in range(4):
        count = 0
        for _ in loader():
            owner.training.backwards += 1
            owner.training.steps += 1
            count += 1
        lengths.append(count)
    assert lengths == [5, 5, 1, 1]


def test_without_training_batches_count():
    def used(owner, loader):
        count = 0
        for _ in loader():
            owner.training.forwards += 1
            count += 1
        return count

    assert used(*limited(100, 3, grad=False)) == 3
    owner, loader = limited(2, 3, grad=False)
    assert used(owner, loader) == 2
    assert owner.ended == 0
    # Gradients are on, but the backward pass has not come yet: some libraries look ahead.
    assert used(*limited(100, 1)) == 3
    # Compiled code tells nothing of its calls.
    owner, loader = limited(100, 3, grad=False)
    owner.training.follows_calls = False
    assert len(list(loader())) == 3


def test_batches_of_a_step_may_be_fetched_at_once():
    """As transformers' Trainer does (get_batch_samples): the first is used when the last of them is there."""
    owner, loader = limited(200, 2)
    batches = iter(loader())
    steps = 0
    while fetched := [batch for _, batch in zip(range(32), batches, strict=False)]:
        for _ in fetched:
            owner.training.forwards += 1
            owner.training.backwards += 1
        owner.training.steps += 1
        steps += 1
        assert len(fetched) == 32
    assert steps == 2
    assert owner.ended == 1 and owner.unused == 0
    # Nothing ever uses them: an end all the same, of which the outcome tells.
    owner, loader = limited(10_000, 2)
    assert len(list(loader())) == 256
    assert owner.ended == owner.unused == 1


def test_an_unknown_optimizer_does_not_run_for_ever():
    owner, loader = limited(10_000, 3)
    count = 0
    for _ in loader():
        owner.training.backwards += 1
        count += 1
    assert count == 256


def test_a_trainer_evaluates_saves_and_stops():
    def end(step, **arguments):
        control = types.SimpleNamespace(should_evaluate=False, should_save=False, should_training_stop=False)
        trainers._end_trainer(types.SimpleNamespace(**arguments), types.SimpleNamespace(global_step=step), control, 3)
        return control.should_evaluate, control.should_save, control.should_training_stop

    steps = types.SimpleNamespace(value="steps")
    assert end(2, eval_strategy="steps", save_strategy="steps") == (False, False, False)
    assert end(3, eval_strategy=steps, save_strategy=steps) == (True, True, True)
    assert end(3, evaluation_strategy="epoch", save_strategy="no") == (True, False, True)


@pytest.mark.usefixtures("_listening")
def test_jax_is_told_that_there_is_no_gpu_and_the_report_says_so(tmp_path, monkeypatch):
    """A stand-in for JAX's module that looks for /dev/nvidia0."""
    for name in ("jax", "jax._src", "jax._src.hardware_utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "jax" / "_src").mkdir(parents=True)
    for package in ("jax", "jax/_src"):
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "jax" / "_src" / "hardware_utils.py").write_text("def has_visible_nvidia_gpu():\n    return True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("VRAMWISE_LEDGER_DIR", str(tmp_path))
    jax.install()
    hardware = importlib.import_module("jax._src.hardware_utils")
    assert hardware.has_visible_nvidia_gpu() is False
    assert list(tmp_path.glob("note.*")) == [], "without its plugin for CUDA it would be on the CPU anyway"
    monkeypatch.setitem(sys.modules, "jax_plugins.xla_cuda12", types.ModuleType("jax_plugins.xla_cuda12"))
    assert hardware.has_visible_nvidia_gpu() is False
    (note,) = tmp_path.glob("note.jax.*")
    assert "computed on the CPU" in note.read_text()
    for name in ("jax", "jax._src", "jax._src.hardware_utils"):
        del sys.modules[name]


class Peaks:
    """Counters of two cards that give each peak once."""

    def __init__(self):
        self.lock, self.now = threading.RLock(), {}

    def take(self, covers):
        return {device: (self.now.pop(device), 0, 0, 0, 0) for device in list(self.now) if covers(device)}


def elsewhere(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_a_training_goes_on_in_another_thread_when_it_is_at_rest():
    trainings = threads.Trainings(Peaks())
    first = trainings.here(lambda: {0})
    first.begin("backward")
    first.depth["backward"] += 1
    seen = []
    elsewhere(lambda: seen.append(trainings.here(lambda: {0})))
    assert seen == [None], "it is in the middle of a backward pass in its own thread"
    first.depth["backward"] -= 1
    elsewhere(lambda: seen.append(trainings.here(lambda: {0})))
    assert seen[1] is first
    assert trainings.here(lambda: {0}) is first
    assert trainings.here() is first
    assert not trainings.is_mixed


def test_another_card_in_another_thread_is_a_training_of_its_own():
    peaks = Peaks()
    trainings = threads.Trainings(peaks)
    first = trainings.here(lambda: {0})
    peaks.now = {0: 10, 1: 20}  # the other one's weights come to the card
    first.begin("forward")
    peaks.now = {0: 30, 1: 40}

    def other():
        training = trainings.here(lambda: {1})
        training.begin("forward")
        peaks.now[1] = 50
        training.begin("backward")

    elsewhere(other)
    peaks.now[0] = 60
    first.begin("backward")
    trainings.finish()
    assert len(trainings.all()) == 2
    found = {
        name: {card: best["allocated"][0] for card, best in seen.items()} for name, seen in trainings.peaks().items()
    }
    assert found == {"load": {0: 10, 1: 40}, "forward": {0: 60, 1: 50}}


def test_steps_of_two_threads_on_one_card_are_told():
    trainings = threads.Trainings(Peaks())
    trainings.here(lambda: {0}, steps=True)
    elsewhere(lambda: trainings.here(lambda: {0}, steps=True))
    assert trainings.is_mixed
