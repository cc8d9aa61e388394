"""From a PyTorch classifier to a sealed bundle. Needs ``toxonnx[export]``. Optimum is used only here."""
