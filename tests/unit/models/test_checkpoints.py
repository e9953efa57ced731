"""Weights and training states: written without pickle, and read back to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asal.errors import DamageError
from asal.models.checkpoints import load_state, load_weights, save_state, save_weights


def net(seed: int = 0) -> nn.Module:
    """A net with convolutions in another memory layout, buffers and a scalar."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 36, 2))
        return made.to(memory_format=torch.channels_last)


def same(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


class Training:
    """A small training with everything that has a state."""

    def __init__(self, seed: int) -> None:
        self.net = net(seed)
        self.averaged = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        self.adam = torch.optim.Adam(self.net.parameters(), 1e-2)
        self.draws = torch.Generator().manual_seed(seed)

    def parts(self) -> dict[str, Any]:
        return {"net": self.net, "averaged": self.averaged, "adam": self.adam, "draws": self.draws}

    def go(self, steps: int) -> None:
        for _ in range(steps):
            batch = torch.randn(5, 1, 8, 8, generator=self.draws).to(memory_format=torch.channels_last)
            self.adam.zero_grad()
            self.net(batch).square().mean().backward()
            self.adam.step()
            self.averaged.update_parameters(self.net)


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", generator=net(1), critic=net(2))
    one, two = net(), net()
    load_weights(tmp_path / "w.safetensors", generator=one, critic=two)
    assert same(one, net(1))
    assert same(two, net(2))
    alone = net()
    load_weights(tmp_path / "w.safetensors", critic=alone)
    assert same(alone, net(2)), "one of several"


def test_names_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", net=net(1), net2=net(2))
    one = net()
    load_weights(tmp_path / "w.safetensors", net=one)
    assert same(one, net(1))


@pytest.mark.parametrize("cuts", [(4,), (1, 5), (0, 3)])
def test_a_restored_training_goes_on_as_if_never_stopped(cuts: tuple[int, ...], tmp_path: Path) -> None:
    uncut = Training(0)
    uncut.go(9)
    path = tmp_path / "checkpoint.safetensors"
    save_state(path, 0, Training(0).parts())
    for place in (*cuts, 9):
        training = Training(7)  # other weights, another stream: all has to come from the file
        training.go(1)
        done = load_state(path, training.parts())
        training.go(place - done)
        save_state(path, place, training.parts())
    assert same(training.net, uncut.net)
    assert same(training.averaged, uncut.averaged)
    assert torch.equal(training.draws.get_state(), uncut.draws.get_state())
    for mine, other in zip(
        training.adam.state_dict()["state"].values(), uncut.adam.state_dict()["state"].values(), strict=True
    ):
        assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_where_nothing_was_saved_a_training_begins(tmp_path: Path) -> None:
    training = Training(3)
    assert load_state(tmp_path / "nothing.safetensors", training.parts()) == 0
    assert same(training.net, net(3))


def test_a_state_is_restored_without_touching_the_options_of_the_optimizer(tmp_path: Path) -> None:
    training = Training(0)
    training.go(1)
    save_state(tmp_path / "s.safetensors", 1, training.parts())
    other = Training(0)
    other.adam.param_groups[0]["lr"] = 0.5
    load_state(tmp_path / "s.safetensors", other.parts())
    assert other.adam.param_groups[0]["lr"] == 0.5


def test_no_file_holds_a_pickle(tmp_path: Path) -> None:
    training = Training(0)
    training.go(1)
    save_weights(tmp_path / "w.safetensors", net=training.net)
    save_state(tmp_path / "s.safetensors", 1, training.parts())
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        assert all({"dtype", "shape", "data_offsets"} <= set(entry) for entry in header.values())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def garble(path: Path) -> None:
    path.write_bytes(b"\x80\x04\x95" + path.read_bytes())  # as a pickle begins


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [Path.unlink, cut, garble, empty])
def test_a_damaged_file_is_named(harm: Any, tmp_path: Path) -> None:
    weights, state = tmp_path / "w.safetensors", tmp_path / "s.safetensors"
    save_weights(weights, net=net())
    save_state(state, 3, {"net": net()})
    harm(weights)
    with pytest.raises(DamageError, match=r"w\.safetensors"):
        load_weights(weights, net=net())
    if harm is not Path.unlink:
        harm(state)
        with pytest.raises(DamageError, match=r"s\.safetensors"):
            load_state(state, {"net": net()})


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", net=nn.Linear(3, 2))
    for other in (nn.Linear(4, 2), nn.Sequential(nn.Linear(3, 2)), nn.Linear(3, 2, bias=False)):
        with pytest.raises(DamageError, match="does not fit the network"):
            load_weights(tmp_path / "w.safetensors", net=other)
