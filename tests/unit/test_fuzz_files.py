"""Shards, datasets and tables under fire: what was written, or a sentence, and nothing else.

WEIGHTSCAPE_FUZZ is the number of examples of each test; the same ones each time, unless it is set.
"""

import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import damage, fuzzed
from read_damaged import outcome
from weightscape.storage.tables import write_table


@pytest.fixture(scope="module")
def sound(synthesise, dataset, arrays, tmp_path_factory):
    """Kind -> the path of a whole file."""
    folder = tmp_path_factory.mktemp("sound")
    synthesise(folder / "shard.h5", [0, 1])
    with h5py.File(folder / "own.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array.astype("S") if array.dtype.kind == "U" else array
    return {"shard": folder / "shard.h5", "dataset": dataset, "own": folder / "own.h5"}


@pytest.mark.parametrize("kind", ["shard", "dataset"])
@fuzzed
@given(data=st.data())
def test_damage_to_a_file_of_ours_is_refused_or_harmless(kind, sound, damaged_files, data):
    damaged = data.draw(damage(sound[kind].read_bytes()))
    assert damaged_files.fault(kind, sound[kind], damaged) is None


@fuzzed
@given(data=st.data())
def test_a_damaged_hdf5_file_of_one_s_own_is_read_or_refused(sound, damaged_files, data):
    """It has no checksum, so other numbers may come out; no crash, no hang, no traceback."""
    found = damaged_files.read("own", data.draw(damage(sound["own"].read_bytes())))
    assert found == "refused" or found.startswith("read ")


@pytest.fixture(scope="module")
def npz(arrays, tmp_path_factory):
    """Own datasets, plain and compressed."""
    folder = tmp_path_factory.mktemp("npz")
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "compressed.npz", **arrays)
    return folder


@pytest.mark.parametrize("kind", ["plain", "compressed"])
@fuzzed
@given(data=st.data())
def test_a_damaged_npz_file_is_refused_or_harmless(kind, npz, tmp_path_factory, data):
    """Zip has a checksum of each array."""
    damaged = npz / "damaged.npz"
    damaged.write_bytes(data.draw(damage((npz / f"{kind}.npz").read_bytes())))
    whole = outcome("own", str(npz / "plain.npz"))
    assert whole.startswith("read ")
    assert outcome("own", str(damaged)) in ("refused", whole)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "statistics.csv"
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"width": ["2", "20x5"] * 10, "seed": range(20), "std": random.random(20)})
    write_table(rows.assign(layer='fc"1, a'), path)
    return path


@fuzzed
@given(data=st.data(), sealed=st.booleans())
def test_a_damaged_table_is_refused_or_harmless(table, tmp_path_factory, data, sealed):
    path = tmp_path_factory.mktemp("damaged") / table.name
    whole = table.read_bytes()
    path.write_bytes(data.draw(damage(whole)))
    if sealed:
        shutil.copytree(table.parent / ".seals", path.parent / ".seals")
    found = outcome("table", str(path))
    # without a seal it is a table of other hands, and may have other numbers
    may_be_read = not sealed or path.read_bytes() == whole
    assert found == "refused" or (may_be_read and found.startswith("read "))
