"""Fixtures that several folders share."""

from pathlib import Path

import pytest

from serving.demo.build import build_demo


@pytest.fixture(scope="session")
def demo_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo repository, built once in a session whatever folder its tests are in."""
    root = tmp_path_factory.getbasetemp() / "demo-models"
    build_demo(root)
    return root
