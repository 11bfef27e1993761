"""Parts of the hook by themselves, against stand-ins of the libraries that they meet."""

import importlib
import sys
import types

import machine
import pytest

sys.path.insert(0, str(machine.ROOT / "src" / "dryrun" / "hook"))
from vramwise_hook import imports, loaders, trainers, uploads

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
    owner.training = types.SimpleNamespace(steps=0, backwards=0)

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
    owner, loader = limited(100, 3, grad=False)
    assert len(list(loader())) == 3
    owner, loader = limited(2, 3, grad=False)
    assert len(list(loader())) == 2
    assert owner.ended == 0
    # Gradients are on, but the backward pass has not come yet: some libraries look ahead.
    _, loader = limited(100, 1)
    assert len(list(loader())) == 3


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
