"""From a PyTorch classifier to a sealed bundle. Needs ``toxonnx[export]`` or ``toxonnx[export-transformers5]``."""
