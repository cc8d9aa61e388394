"""The offline side: data preparation, training, merging. Needs ``toxonnx[train]``."""
