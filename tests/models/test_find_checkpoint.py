"""A model on the hub, or in the hub's cache, is bounded as one in a folder is. No test asks the hub."""

import os
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest

from longspan.errors import InputError
from longspan.extend.sources import load_source
from longspan.limits import DESCRIPTION_BYTES, VARIABLE
from longspan.models import find_checkpoint as finding
from longspan.models.export import load_model
from longspan.tasks.question_answering.model import load_qa_model

NAME = "somebody/tiny"


@pytest.fixture
def cached(tiny_qa_folder, tmp_path, monkeypatch):
    """The folder of `NAME` in the hub's cache, and no connection."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub/models--somebody--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("1")
    return shutil.copytree(tiny_qa_folder("longformer"), repository / "snapshots/1")


@pytest.fixture
def hub(monkeypatch):
    """Says what the hub lists, with sizes; nothing can be loaded from it."""

    def lists(**sizes):
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in sizes.items()]
        api = SimpleNamespace(model_info=lambda *_, **__: SimpleNamespace(siblings=files))
        monkeypatch.setattr(finding, "HfApi", lambda: api)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    return lists


LOADERS = pytest.mark.parametrize("load", [load_qa_model, load_source, load_model])


@pytest.mark.parametrize("load", [load_qa_model, load_model])
def test_a_model_in_the_hubs_cache_is_loaded(load, cached):
    assert load(NAME)[0].config.model_type == "longformer"


@LOADERS
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "adapter_config.json"])
def test_a_large_file_in_the_hubs_cache_is_refused(load, file, cached):
    blob = cached.parent / "blob"
    with blob.open("wb") as opened:
        opened.truncate(DESCRIPTION_BYTES + 1)
    (cached / file).unlink(missing_ok=True)
    os.symlink(blob, cached / file)  # as the cache keeps files
    with pytest.raises(InputError, match=rf"{file} has 268,435,457 bytes, and the bound is 268,435,456; .*--max_unp"):
        load(NAME)


@LOADERS
def test_a_large_file_on_the_hub_is_not_downloaded(load, hub):
    hub(**{"config.json": 600, "model.safetensors": 1 << 40, "onnx/tokenizer.json": 1 << 40, "vocab.txt": 1 << 40})
    with pytest.raises(InputError, match=r"somebody/tiny/vocab\.txt has 1,099,511,627,776 bytes, and the bound"):
        load(NAME)


def test_a_users_bound_counts_on_the_hub(hub, monkeypatch):
    hub(**{"tokenizer.json": 2 * DESCRIPTION_BYTES})
    monkeypatch.setenv(VARIABLE, "1GB")
    assert finding.find_checkpoint(NAME, allow_pickle=False) == NAME


def test_a_name_that_the_cache_lacks_is_said(cached):
    with pytest.raises(InputError, match=r"cannot load somebody/other: .*give a folder, or a name"):
        load_qa_model("somebody/other")
