#!/usr/bin/env python
r"""The thesis's pre-training script: its command lines, flag by flag, on longspan.

  python scripts/run_long_lm.py --model_name_or_path xlm-roberta-base --model_name xlm-roberta-to-longformer \
      --output_dir ./output --train_file_path wiki.train.raw --val_file_path wiki.valid.raw --max_pos 4096 ... --fp16

Flags that transformers has renamed since are mapped; those that no longer change anything are taken, and said to have
no effect. Every field of a pre-training recipe can be given too. `--plan` says what would run, and runs nothing. The
same runs as recipes: `longspan pretrain roberta-long-thesis` and `xlmr-long-thesis`.
"""

import logging
import sys
from collections.abc import Sequence

from longspan.errors import InputError
from longspan.training.pretrain.recipe import PretrainRecipe
from longspan.training.recipe.files import parse_recipe

# What the thesis's script did without a flag that says so.
DEFAULTS = {
    "name": "run_long_lm",
    "max_tokens": 4096,
    "attention_window": 512,
    "layout": "continuous",
    "weight_decay": 0.0,
}
logger = logging.getLogger("run_long_lm")


def recipe_of(words: Sequence[str]) -> PretrainRecipe:
    """The recipe that a command line of the thesis stands for.

    Raises:
        InputError: a flag is unknown or has a wrong value.
    """
    recipe = parse_recipe(words, kind=PretrainRecipe, defaults=DEFAULTS)
    if recipe.training.get("fp16"):
        import torch

        if not torch.cuda.is_available():
            # The thesis's line has --fp16 in it, and is to run where it is tried.
            logger.warning(
                "--fp16 is left out: half precision needs a GPU, whose loss scale keeps small gradients; here the run "
                "computes in bfloat16 where the processor has instructions for it, else in float32"
            )
            training = {name: value for name, value in recipe.training.items() if name != "fp16"}
            recipe = recipe.model_copy(update={"training": training, "precision": "auto"})
    return recipe


def main(words: Sequence[str]) -> int:
    """Run, or plan; returns the exit code."""
    logging.basicConfig(format="%(name)s: %(message)s")
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    wants_plan = "--plan" in words
    try:
        recipe = recipe_of([word for word in words if word != "--plan"])
        if wants_plan:
            from longspan.training.pretrain.preparation import plan_pretraining

            for name, value in plan_pretraining(recipe).items():
                print(f"{name:14} {value}")
            return 0
        from longspan.cli.pretrain import describe
        from longspan.training.pretrain.pretrain import pretrain

        describe(pretrain(recipe), recipe.output_dir)
    except InputError as error:
        print(f"run_long_lm.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
