"""Whether ONNX Runtime could compute on a GPU."""

from __future__ import annotations


def may_use_gpu() -> bool:
    """Return whether the installed ONNX Runtime was built for CUDA; it tells no device."""
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
