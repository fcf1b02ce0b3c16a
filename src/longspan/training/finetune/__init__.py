"""recipe -> a fine-tuned model or adapter."""
