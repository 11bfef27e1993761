"""Architectures in the sizes in which people train them, as fields of a Hugging Face config.json: the models of the
bundled catalogue."""

import json
import pathlib

CATALOGUE = (
    pathlib.Path(__file__).resolve().parent.parent.parent / "src" / "models" / "catalogue" / "data" / "models.json"
)


ENTRIES = json.loads(CATALOGUE.read_text())
# Without their organization: "Llama-3.1-8B".
CONFIGS = {name.rpartition("/")[2]: entry["config"] for entry in ENTRIES for name in entry["names"]}
# (a name, fields of the config, parameters)
SHAPES = [(entry["names"][0].rpartition("/")[2], entry["config"], entry["parameters"]) for entry in ENTRIES]
