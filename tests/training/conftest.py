from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from longspan.training.recipe import FinetuneRecipe, load_recipe


@pytest.fixture
def tiny_recipe(tmp_path, tiny_squad, tiny_qa_folder) -> Callable[..., FinetuneRecipe]:
    """A recipe of a few steps on the tiny data; fields override it."""

    def make(model: str = "xlm-roberta encoder", **fields: Any) -> FinetuneRecipe:
        values = {
            "model": str(tiny_qa_folder(model)),
            "train_data": str(tiny_squad),
            "output_dir": str(tmp_path / "run"),
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
        } | fields
        path = Path(tmp_path) / "tiny.yaml"
        path.write_text("\n".join(f"{name}: {_yaml(value)}" for name, value in values.items()), encoding="utf-8")
        return load_recipe(path)

    return make


def _yaml(value: Any) -> str:
    import json

    return json.dumps(value)
