"""Fixtures that several folders share."""

import warnings
from pathlib import Path
from types import ModuleType

import pytest

from serving.demo.build import build_demo


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo repository, built once in a session whatever folder its tests are in."""
    root = tmp_path_factory.getbasetemp() / "demo-models"
    build_demo(root)
    return root


@pytest.fixture(scope="session")
def shap() -> ModuleType:
    """The package, which is an oracle; its plots warn while they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap
    return shap
