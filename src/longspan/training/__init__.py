"""recipe -> checkpoint: recipes, the glue to transformers' Trainer, resume."""
