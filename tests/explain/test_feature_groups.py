import numpy as np
import pytest

from explain.feature_groups import feature_groups


def test_few_elements_are_features_of_their_own_in_every_input():
    groups = feature_groups({"x": (3,), "image": (1, 2, 2), "one": ()}, 8)
    assert [group.tolist() for group in groups.values()] == [[0, 1, 2], [3, 4, 5, 6], [7]]


def test_images_are_cut_into_patches_that_hold_all_channels():
    group = feature_groups({"image": (3, 8, 8)}, 16)["image"].reshape(3, 8, 8)
    assert (group == group[0]).all()
    assert (group[0, :2, :2] == 0).all()
    assert group[0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(np.unique(group)) == 16


def test_colours_may_come_last():
    group = feature_groups({"image": (8, 8, 3)}, 16)["image"].reshape(8, 8, 3)
    assert (group == group[:, :, :1]).all()
    assert len(np.unique(group)) == 16


def test_long_rows_are_cut_into_blocks_of_neighbours():
    group = feature_groups({"x": (1000,)}, 64)["x"]
    assert (np.diff(group) >= 0).all()
    assert np.bincount(group).max() == 16


@pytest.mark.parametrize(
    "shapes",
    [
        {"x": (10_000,)},
        {"image": (3, 224, 224)},
        {"image": (224, 190, 3)},
        {"video": (5, 3, 50, 40)},
        {"narrow": (1, 5000)},
        {"x": (300,), "image": (1, 28, 28), "y": (2,)},
    ],
)
def test_never_more_than_allowed_and_numbered_without_gaps(shapes):
    groups = feature_groups(shapes, 100)
    assert [len(group) for group in groups.values()] == [int(np.prod(s)) for s in shapes.values()]
    used = np.unique(np.concatenate(list(groups.values())))
    assert used.tolist() == list(range(len(used)))
    assert 20 <= len(used) <= 100


def test_a_short_input_keeps_its_elements_beside_a_long_one():
    groups = feature_groups({"x": (5,), "long": (1000,)}, 20)
    assert groups["x"].tolist() == [0, 1, 2, 3, 4]
    assert groups["long"][0] == 5
