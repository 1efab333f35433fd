"""Heads as files that others run: ONNX and torch.export, checked against PyTorch, with a model card."""
