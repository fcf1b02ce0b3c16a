"""One file a task: its features, decoding and metric, around a model of the room below."""
