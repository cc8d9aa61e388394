"""Texts to scores: tokenizer, batches, ONNX Runtime sessions, and the classifier around them."""
