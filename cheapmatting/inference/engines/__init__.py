"""What computes the network: PyTorch, ONNX Runtime or OpenVINO behind one interface."""
