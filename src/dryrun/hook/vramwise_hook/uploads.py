"""What a program would tell the world stays here: uploads to the hub, experiment trackers with addresses in the code.

Most trackers are switched off by environment variables (src/dryrun/run.cc). Reading is left alone.
"""

import os
import sys

from . import imports
from .harmless import harmless

# Methods of huggingface_hub.HfApi (0.20 to 2.4) that change something there.
_COMMITS = ("create_commit", "upload_file", "upload_folder", "delete_file", "delete_files", "delete_folder")
_OTHERS = (
    "upload_large_folder",
    "preupload_lfs_files",
    "delete_repo",
    "move_repo",
    "update_repo_settings",
    "update_repo_visibility",
    "create_branch",
    "delete_branch",
    "create_tag",
    "delete_tag",
    "create_discussion",
    "create_pull_request",
    "comment_discussion",
    "merge_pull_request",
    "super_squash_history",
    "add_space_secret",
    "add_space_variable",
    "request_space_hardware",
    "restart_space",
    "pause_space",
    "create_collection",
    "add_collection_item",
    "create_inference_endpoint",
    "run_job",
)
_told = set()


def install():
    if os.environ.get("VRAMWISE_UPLOADS") == "1":
        return
    imports.after("huggingface_hub.hf_api", _keep_from_hub)
    imports.after("mlflow", _keep_mlflow_here)


def _tell(name):
    if name not in _told:
        _told.add(name)
        print(f"vramwise: {name} was left out: a dry run uploads nothing (--allow-uploads)", file=sys.stderr)


@harmless
def _keep_from_hub(hub):
    def replace(name, answer):
        if not hasattr(hub.HfApi, name):
            return

        def left_out(self, *arguments, **options):
            _tell(f"HfApi.{name}")
            made = answer(arguments, options)
            return self.run_as_future(lambda: made) if options.get("run_as_future") else made

        setattr(hub.HfApi, name, left_out)
        if hasattr(hub, name):  # the same as a function: huggingface_hub.upload_folder(…)
            setattr(hub, name, getattr(hub.api, name))

    def repository(arguments, options):
        name = options.get("repo_id") or (arguments[0] if arguments else "user/name")
        kind = {"dataset": "datasets/", "space": "spaces/"}.get(options.get("repo_type"), "")
        return hub.RepoUrl(f"https://huggingface.co/{kind}{name if '/' in name else 'user/' + name}")

    def commit(_arguments, options):
        name = options.get("repo_id") or "user/name"
        message = options.get("commit_message") or ""
        address = f"https://huggingface.co/{name}/commit/{'0' * 40}"
        return hub.CommitInfo(commit_url=address, commit_message=message, commit_description="", oid="0" * 40)

    replace("create_repo", repository)
    for name in _COMMITS:
        replace(name, commit)
    for name in _OTHERS:
        replace(name, lambda *_: None)


@harmless
def _keep_mlflow_here(mlflow):
    """The address comes from the environment, unless the program has one of its own."""
    for name in ("set_tracking_uri", "set_registry_uri"):
        setattr(mlflow, name, lambda *_, name=name: _tell(f"mlflow.{name}"))
