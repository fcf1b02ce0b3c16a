"""recipe -> a model pre-trained on long text."""
