"""Weights that share memory: what is saved loads, and the file says each number once."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model

from serving.config import ConfigError
from serving.models.torch.weights_file import load_weights, write_weights


class Tied(torch.nn.Module):
    """As most language models: the embedding is the head's weight as well."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


class SharedBuffers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        table = torch.rand(4)
        self.register_buffer("one", table)
        self.register_buffer("two", table)


class Views(torch.nn.Module):
    """Parts of one memory that is itself no weight, a part of a weight, and a transposed weight."""

    def __init__(self):
        super().__init__()
        memory = torch.rand(10)
        self.register_buffer("left", memory[:6])
        self.register_buffer("right", memory[4:])
        self.whole = torch.nn.Parameter(torch.rand(4, 2))
        self.register_buffer("part", self.whole.data[1:3])
        self.register_buffer("turned", self.whole.data.t())


class NotContiguous(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(3, 4).t())
        self.register_buffer("wide", torch.rand(1, 3).expand(4, 3).contiguous()[::2])
        self.register_buffer("none", torch.rand(0, 3))
        self.register_buffer("number", torch.tensor(3))


MODULES = [Tied, SharedBuffers, Views, NotContiguous]


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("kind", MODULES)
def test_what_is_saved_loads(tmp_path, kind):
    module, other = kind(), kind()
    write_weights(module.state_dict(), tmp_path / "w")
    load_weights(other, tmp_path / "w", "net:build")
    same(state(other), state(module))


@pytest.mark.parametrize("kind", [Tied, SharedBuffers])
def test_what_safetensors_saves_itself_loads(tmp_path, kind):
    module, other = kind(), kind()
    save_model(module, str(tmp_path / "w"))
    load_weights(other, tmp_path / "w", "net:build")
    same(state(other), state(module))


def test_tied_weights_are_in_the_file_once(tmp_path):
    write_weights(Tied().state_dict(), tmp_path / "w")
    assert load_file(tmp_path / "w").keys() == {"embed.weight"}
    with safe_open(tmp_path / "w", "pt") as file:
        assert file.metadata() == {"format": "pt", "head.weight": "embed.weight"}


def test_the_file_is_readable_by_whoever_serves_it(tmp_path):
    write_weights(Tied().state_dict(), tmp_path / "w")
    assert (tmp_path / "w").stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_one_of_the_tied_names_is_enough(tmp_path, name):
    module = Tied()
    weight = torch.rand(5, 3)
    save_file({name: weight}, tmp_path / "w")
    load_weights(module, tmp_path / "w", "net:build")
    same(state(module), {"embed.weight": weight, "head.weight": weight})


def test_weights_that_the_file_calls_the_same_are(tmp_path):
    module = Tied()
    write_weights(module.state_dict(), tmp_path / "w")
    untied = torch.nn.Module()
    untied.embed, untied.head = torch.nn.Embedding(5, 3), torch.nn.Linear(3, 5, bias=False)
    load_weights(untied, tmp_path / "w", "net:build")
    same(state(untied), state(module))


def test_a_missing_part_of_a_weight_that_is_there(tmp_path):
    module = Views()
    values = {name: state(Views())[name] for name in ("left", "right", "whole")}
    values["right"][:2] = values["left"][4:]
    save_file(values, tmp_path / "w")
    load_weights(module, tmp_path / "w", "net:build")
    parts = {"part": values["whole"][1:3], "turned": values["whole"].t()}
    same(state(module), {**values, **parts})


def test_a_missing_weight_of_which_only_a_part_is_there(tmp_path):
    values = state(Views())
    del values["left"], values["whole"], values["turned"]
    save_file(values, tmp_path / "w")
    with pytest.raises(ConfigError, match=r"w: Missing key\(s\) 'whole', 'left', 'turned'; save"):
        load_weights(Views(), tmp_path / "w", "net:build")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], r"Missing key\(s\) 'embed.weight', 'head.weight'; save the weights of the module"),
        (["head.weight", "x"], r"w: Unexpected key\(s\) 'x'; save .* that net:build builds"),
        (["x", "y"], r"w: Missing key\(s\) 'embed.*'; Unexpected key\(s\) 'x', 'y'; save"),
    ],
)
def test_otherwise_nothing_may_be_missing_or_left_over(tmp_path, names, says):
    save_file({name: torch.rand(5, 3) for name in names}, tmp_path / "w")
    with pytest.raises(ConfigError, match=says):
        load_weights(Tied(), tmp_path / "w", "net:build")


def test_two_values_for_one_weight_are_refused(tmp_path):
    save_file({name: torch.rand(5, 3) for name in ("embed.weight", "head.weight")}, tmp_path / "w")
    with pytest.raises(ConfigError, match=r"w: '\w+\.weight' differs from the weights that it sh"):
        load_weights(Tied(), tmp_path / "w", "net:build")


def test_one_value_for_one_weight_by_two_names(tmp_path):
    weight = torch.rand(5, 3)
    weight[0, 0] = torch.nan
    both = {"embed.weight": weight.half(), "head.weight": weight.half()}
    save_file(both, tmp_path / "w")
    module = Tied()
    load_weights(module, tmp_path / "w", "net:build")
    np.testing.assert_array_equal(state(module)["head.weight"], weight.half().float())


@pytest.mark.parametrize("tied", [{"embed.weight": "x"}, {"x": "embed.weight"}, {"a": "b"}])
def test_what_the_file_says_of_names_that_are_not_there(tmp_path, tied):
    save_file({"head.weight": torch.rand(5, 3)}, tmp_path / "w", {"format": "pt", **tied})
    load_weights(Tied(), tmp_path / "w", "net:build")


def test_a_layer_that_is_made_at_the_first_batch(tmp_path):
    weights = {"weight": torch.rand(2, 3), "bias": torch.rand(2)}
    save_file(weights, tmp_path / "w")
    module = torch.nn.LazyLinear(2)
    load_weights(module, tmp_path / "w", "net:build")
    same(state(module), weights)
