"""A model version with a reference, and columns of recent rows."""

from __future__ import annotations

import numpy as np
import pytest

from serving.models.profile.columns import input_columns
from serving.roles.served_entry import served_entry


@pytest.fixture
def entry(served):
    return served_entry(served)


@pytest.fixture
def columns(tabular, tabular_config):
    found = input_columns(tabular.inputs(100, shift=1.0), tabular_config)
    return {**found, "debt": np.full(100, np.nan, np.float32)}
