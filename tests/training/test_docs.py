from pathlib import Path

import pytest

from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.fields import FinetuneRecipe, describe_fields
from longspan.training.recipe.files import shipped_recipes, verb_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("page", "kind"), [("recipes.md", FinetuneRecipe), ("pretraining.md", PretrainRecipe)])
def test_the_page_explains_every_field_and_recipe(page, kind):
    text = (DOCS / page).read_text(encoding="utf-8")
    for name, _, meaning in describe_fields(kind):
        assert f"| `{name}` | " in text, name
        assert meaning in text, name
    for name in shipped_recipes():
        assert f"`{name}`" in text or verb_of(name) != kind.verb, name
