"""Extractive question answering: windows of a document, the best span of all of them, and its scores."""
