"""Classification and regression of whole documents: windows, the labels of all of them, and their scores."""
