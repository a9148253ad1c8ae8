"""Networks: parameters read back from shards, and answers beside a forward pass by hand."""

import numpy as np
import pytest

from weightscape import models
from weightscape.engine.streams import initialise
from weightscape.measures.networks import (
    answer,
    build_network,
    is_known,
    read_parameters,
    read_test_images,
)
from weightscape.storage.images import load, write_dataset
from weightscape.storage.shards import open_shard, write_shard

OPTIONS = {
    "dnn": {},
    "cnn": {"head": "flatten"},
    "vit": {"tokens": "patches", "d_model": 8, "feedforward": 6, "dropout": 0.1, "depth": 2},
}
WIDTHS = {"dnn": "5x3", "cnn": "2", "vit": "2"}
UNITS = {"dnn": {"fc1": 5, "fc2": 3}, "cnn": {"conv1": 2}, "vit": {"mlp1": 6, "mlp1_2": 6}}


@pytest.mark.parametrize("model", OPTIONS)
def test_a_run_of_a_shard_answers_as_its_model_does(model, header, synthesise, dataset, tmp_path):
    shown = read_test_images(dataset, 8)
    options, width = OPTIONS[model], WIDTHS[model]
    network = models.build(model, width, (1, 4, 4), 3, options)
    start = {"std": 0.5, "biases": "uniform"}
    runs = [initialise(network, start, np.random.default_rng(seed)) for seed in (0, 1)]
    (record,) = synthesise(tmp_path / "any.h5", [0])
    ours = header._replace(
        model=model,
        width=width,
        layers=[layer.name for layer in network.layers],
        recipe=header.recipe | {"options": options},
    )
    records = [
        record._replace(seed=seed, snapshots={0: runs[0], 3: run}) for seed, run in enumerate(runs)
    ]
    write_shard(tmp_path / "own.h5", ours, 2, network.auxiliary, records)
    with open_shard(tmp_path / "own.h5") as shard:
        assert is_known(shard.header.model)
        built = build_network(shard, shown)
        found = read_parameters(built, shard, 1, 3)
    assert found.keys() == runs[1].keys()
    for name, value in runs[1].items():
        np.testing.assert_array_equal(found[name], value)
    logits, units = answer(built, found, shown.images)
    assert logits.shape == (8, 3)
    assert {name: output.shape[-1] for name, output in units.items()} == UNITS[model]
    assert all(len(output) == 8 and (output >= 0).all() for output in units.values())


def test_a_forward_pass_by_hand_gives_the_same(dataset):
    shown, random = read_test_images(dataset, 10), np.random.default_rng(0)
    network = models.build("dnn", "5x3", (1, 4, 4), 3, {})
    p = initialise(network, {"std": 0.5, "biases": "uniform"}, random)
    x = shown.images.reshape(10, -1) / 255
    hidden1 = np.maximum(x @ p["fc1.weight"].T + p["fc1.bias"], 0)
    hidden2 = np.maximum(hidden1 @ p["fc2.weight"].T + p["fc2.bias"], 0)
    logits, units = answer(network, p, shown.images)
    np.testing.assert_allclose(units["fc1"], hidden1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(units["fc2"], hidden2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits, hidden2 @ p["fc3.weight"].T + p["fc3.bias"], rtol=1e-5)


@pytest.mark.parametrize("most", [1, 3, 7, 10, 99])
def test_images_are_spread_over_the_split(most, tmp_path):
    labels = np.arange(10)
    images = np.broadcast_to(labels[:, None, None, None], (10, 1, 4, 4)).astype(np.uint8)
    write_dataset(
        "own", tmp_path / "own.h5", dict.fromkeys(("train", "test"), (images, labels)), {}
    )
    shown = read_test_images(tmp_path / "own.h5", most)
    assert len(shown.labels) == len(set(shown.labels)) == min(most, 10)
    assert shown.classes == load(tmp_path / "own.h5").classes
    np.testing.assert_array_equal(shown.images[:, 0, 0, 0], shown.labels)
    assert shown.labels[0] == 0
    assert max(np.diff([*shown.labels, 10])) - min(np.diff([*shown.labels, 10])) <= 1


def test_an_import_is_no_family():
    assert not is_known("somebody_s")
