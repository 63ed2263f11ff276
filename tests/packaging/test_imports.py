"""What a process imports: a gateway that loads torch would cost every node a model's memory."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch", "pandas", "ray", "scipy", "sklearn", "pyarrow", "evidently", "shap", "captum",
    "onnxruntime", "skops", "joblib", "tritonclient", "gevent", "duckdb",
)  # fmt: skip


def _loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}\nprint(*(name for name in sys.modules if '.' not in name))"
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(finished.stdout.split())


@pytest.mark.parametrize(
    "module", ["serving.gateway.app", "serving.cli", "serving.admin.server", "serving.embedded"]
)
def test_lean_processes_import_nothing_heavy(module: str) -> None:
    assert _loaded_by(module) & set(HEAVY) == set()


@pytest.mark.parametrize("library", ["monitors", "guards", "explain"])
def test_libraries_import_no_protocol_and_no_server(library: str) -> None:
    assert _loaded_by(library) & {"serving", "ray", "grpc", "starlette", "uvicorn"} == set()
