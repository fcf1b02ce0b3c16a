"""tokens -> logits: the Longformer as transformers' `PreTrainedModel`s, and its task heads."""
