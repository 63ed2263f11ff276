"""Format `onnx`: read from its protobuf without ONNX Runtime, computed with it."""
