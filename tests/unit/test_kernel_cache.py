"""Compiled code on disk: found again, and never in the way."""

import fcntl
import logging
import re
import shutil
import threading
import time

import numba
import numpy as np
import pytest

import cases
from weightscape.errors import WeightscapeError
from weightscape.kernels import cache
from weightscape.kernels.cache import KernelCache, Store


def inner(x):
    return x + 1


def outer(x):
    return 2 * called(x)


called = None


@pytest.fixture
def store(tmp_path):
    found = Store("a BLAS")
    found.folders = [tmp_path / "checkout", tmp_path / "user"]
    return found


def make(store, function=inner):
    """A dispatcher of its own, as a process of its own would have it."""
    code = numba.njit(function)
    code._cache = KernelCache(function, store)
    return code


def hits(code):
    return sum(code.stats.cache_hits.values())


def kept(folder):
    return sorted(path for path in folder.iterdir() if path.name != "lock")


@pytest.fixture
def file(store):
    """What is kept of a compiled function."""
    assert make(store)(2) == 3
    (path,) = kept(store.folders[0])
    return path


def test_what_one_process_compiles_the_next_one_loads(store, file, caplog):
    caplog.set_level("INFO", "weightscape")
    code = make(store)
    assert code(2) == 3
    assert hits(code) == 1
    assert caplog.messages == []


def test_compiling_is_told_once_for_all_that_a_function_calls(store, caplog, monkeypatch):
    caplog.set_level("INFO", "weightscape")
    monkeypatch.setitem(globals(), "called", make(store))
    assert make(store, outer)(2) == 6
    told, seconds = caplog.messages
    assert re.fullmatch(r"compiled code was there after \d+\.\d s", seconds)
    assert "compiling test_kernel_cache.outer" in told
    assert len(kept(store.folders[0])) == 2
    assert store.holder is None


def test_other_types_are_kept_beside(store, file):
    code = make(store)
    assert code(2.5) == 3.5
    assert hits(code) == 0
    assert len(kept(store.folders[0])) == 2


def test_of_types_each_has_its_own(store):
    values = [1, 1.5, np.float32(1.5), np.ones(2, np.float32), np.ones((2, 2))[:, 0]]
    for _ in range(2):
        for value in values:
            np.testing.assert_array_equal(make(store)(value), value + 1)
    assert len(kept(store.folders[0])) == len(values)


def damages(content):
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    return {
        "empty": b"",
        "cut in its seal": content[:10],
        "cut after its seal": content[: cache.SEAL],
        "cut": content[:-1],
        "a flipped bit": bytes(flipped),
        "of other hands": b"no code at all" * 100,
        "longer": content + b"\0",
    }


@pytest.mark.parametrize("damage", damages(b"."))
def test_a_damaged_file_is_told_and_made_again(store, file, damage, caplog):
    whole = file.read_bytes()
    file.write_bytes(damages(whole)[damage])
    code = make(store)
    assert code(2) == 3
    assert hits(code) == 0
    assert f"{file} is damaged" in caplog.text
    caplog.clear()
    again = make(store)
    assert again(2) == 3
    assert hits(again) == 1
    assert caplog.text == ""


def test_code_of_another_function_or_of_other_sources_is_not_run(store, file, caplog):
    other = Store("another BLAS")
    other.folders = store.folders
    assert make(store, lambda x: x + 100)(2) == 102
    (lambda_s,) = set(kept(store.folders[0])) - {file}
    file.write_bytes(lambda_s.read_bytes())  # whole, and of another function
    code = make(store)
    assert code(2) == 3
    assert hits(code) == 0
    assert f"{file} is damaged" in caplog.text
    again = make(store)
    assert again(2) == 3
    assert hits(again) == 1
    code = make(other)  # finds what was compiled from other sources
    assert code(2) == 3
    assert hits(code) == 0


def test_a_folder_in_the_file_s_place_is_told(store, file, caplog):
    file.unlink()
    file.mkdir()
    assert make(store)(2) == 3
    assert len(kept(store.folders[1])) == 1


def block(folder):
    """A file in a folder's place: it can't be made, whoever one is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("")


def test_a_checkout_that_can_t_be_written_to_leaves_it_to_the_user_s_own_folder(store, caplog):
    block(store.folders[0])
    assert make(store)(2) == 3
    code = make(store)
    assert code(2) == 3
    assert hits(code) == 1
    assert caplog.text == ""


def test_without_any_folder_it_is_compiled_and_told(store, caplog):
    for folder in store.folders:
        block(folder)
    assert make(store)(2) == 3
    assert "each job compiles anew" in caplog.text
    assert all(str(folder) in caplog.text for folder in store.folders)


def test_a_full_disk_is_no_error(store, caplog, monkeypatch):
    def fail(target):
        raise WeightscapeError(f"{target} can't be written: the disk or your quota is full")

    monkeypatch.setattr(cache, "replace_whole", fail)
    assert make(store)(2) == 3
    assert "quota is full" in caplog.text


def test_one_process_compiles_and_the_others_wait(store, file, caplog):
    caplog.set_level("INFO", "weightscape")
    aside = file.rename(file.with_name("aside"))
    code, found = make(store), []
    with (store.folders[0] / "lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=lambda: found.append(code(2)))
        waiting.start()
        deadline = time.monotonic() + 60
        while "waiting for another job" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not found
        aside.rename(file)
    waiting.join(60)
    assert found == [3]
    assert hits(code) == 1
    assert "compiling" not in caplog.text.replace("another job that compiles", "")


def test_where_there_are_no_locks_it_is_compiled_all_the_same(store, monkeypatch):
    def fail(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(cache.fcntl, "flock", fail)
    assert make(store)(2) == 3
    assert store.holder is None


def test_other_sources_blas_or_settings_have_other_folders(monkeypatch, tmp_path):
    found = [Store("one"), Store("other")]
    monkeypatch.setenv("NUMBA_OPT", "1")
    found.append(Store("one"))
    (tmp_path / "dnn.py").write_text("# changed")
    monkeypatch.setattr(cache, "HERE", tmp_path)
    found.append(Store("one"))
    assert len({store.folders[1].name for store in found}) == 4
    assert Store("one").folders == found[-1].folders


def test_another_processor_has_other_code():
    class Codegen:
        def __init__(self, *magic):
            self.magic = magic

        def magic_tuple(self):
            return self.magic

    of = KernelCache(inner, Store("a BLAS"))
    types = (numba.int64,)
    names = {of._name(types, Codegen("x86_64", cpu, "+avx")) for cpu in ("znver4", "skylake")}
    names.add(of._name(types, Codegen("x86_64", "znver4", "")))
    names.add(of._name((numba.int32,), Codegen("x86_64", "znver4", "")))
    assert len(names) == 4


def test_the_kernels_are_kept_so():
    from weightscape.kernels import cnn, dnn, floats

    for function in (dnn.train, dnn.evaluate, cnn.train, cnn.evaluate, floats.flush_denormals):
        assert isinstance(function._cache, KernelCache)
        assert function._cache._store.folders[0].parent == cache.HERE / "__pycache__"


def test_loading_asks_for_no_compiler(store, file, monkeypatch):
    # numba would first import what compiling needs: as long as all other loading
    code = make(store)
    monkeypatch.setattr(type(code.targetctx), "refresh", lambda self: pytest.fail("refreshed"))
    assert code(2) == 3
    assert hits(code) == 1


def test_what_is_compiled_ahead_is_what_training_calls():
    from weightscape.engine.__main__ import compile_kernels
    from weightscape.kernels import cnn, dnn

    compile_kernels()
    functions = [dnn.train, dnn.evaluate, cnn.train, cnn.evaluate]
    before = [len(function.signatures) for function in functions]
    assert all(before)
    for case in (cases.DNN, cases.CNN):
        split = case.split(20)
        stack = cases.by_hand(case.network, case.starts(), split, case.recipe())
        stack.train_epoch(cases.random_orders(1, 20))
        stack.evaluate(split)
        stack.gradient_norms()
    assert [len(function.signatures) for function in functions] == before


@pytest.fixture(autouse=True)
def quiet():
    yield
    logging.getLogger("weightscape").setLevel(logging.NOTSET)
