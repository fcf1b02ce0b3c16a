from pathlib import Path

from longspan.training.recipe import describe_fields, shipped_recipes

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_on_recipes_explains_every_field_and_recipe():
    text = PAGE.read_text(encoding="utf-8")
    for name, _, meaning in describe_fields():
        assert f"| `{name}` | " in text
        assert meaning in text, name
    for name in shipped_recipes():
        assert f"`{name}`" in text
