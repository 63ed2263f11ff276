"""Not a test: models that answer with what they are asked, and limits that tests can reach."""

from pathlib import Path
from shutil import copytree
from typing import Any

from serving.models.export import save_files

LIMITS: dict[str, Any] = {
    "max_body_mib": 16,
    # What no request of a starved client takes, and tests of slow ones wait for.
    "headers_timeout_s": 4.0,
    "request_timeout_s": 8.0,
}
ECHO_NET = """
class Echo:
    def predict(self, inputs):
        return {f"{name}_out": array for name, array in inputs.items()}


def build():
    return Echo()
"""

KINDS = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "fp16": "FP16",
    "bf16": "BF16", "fp32": "FP32", "fp64": "FP64", "bytes": "BYTES",
}  # fmt: skip


def echo_config(inputs: dict[str, str], columns: int) -> str:
    def specs(suffix: str) -> str:
        return "".join(
            f"  - {{name: {name}{suffix}, datatype: {datatype}, shape: [-1, {columns}]}}\n"
            for name, datatype in inputs.items()
        )

    return (
        "format: python\nfactory: net:build\ntrust_code: true\nmonitors: {drift: null}\n"
        f"explain: null\ninputs:\n{specs('')}outputs:\n{specs('_out')}"
    )


def write(root: Path) -> Path:
    """Write `echo`, `a..b` (the same) and `kinds`, with an input of every datatype."""
    configs = {"echo": echo_config({"x": "FP32"}, 4), "kinds": echo_config(KINDS, 2)}
    for name, config in configs.items():
        version = root / name / "1"
        version.mkdir(parents=True)
        (version / "net.py").write_text(ECHO_NET)
        save_files(version, version / "net.py")
        (root / name / "model.yaml").write_text(config)
    copytree(root / "echo", root / "a..b")
    return root
