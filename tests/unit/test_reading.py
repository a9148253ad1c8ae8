"""What a config's file may not hold: one sentence that names it, and no traceback."""

import json

import pytest
import yaml

from weightscape.errors import WeightscapeError
from weightscape.study.reading import MOST_ENTRIES, check_file

BASE = "study: test\npopulations:\n  - {model: dnn, dataset: digits, widths: [4], seeds: 1}\n"
BOMB = ["a0: &a0 [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"] + [
    f"a{n}: &a{n} [{', '.join(10 * [f'*a{n - 1}'])}]" for n in range(1, 12)
]


@pytest.mark.parametrize(
    "text",
    [
        BASE,
        json.dumps(yaml.safe_load(BASE), indent="\t"),  # which is no YAML
        BASE + "training: &t {epochs: 3}\nx: *t\n",  # an alias
        BASE + "  - {model: dnn, dataset: mnist, widths: [4], seeds: 1}\n",  # keys of another item
    ],
)
def test_a_plain_config_is_taken(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    check_file(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "device: cpu\ndevice: cuda\n", "key 'device' twice, in line 4 and in line 5; rem"),
        (BASE + "training: {epochs: 3,\n  'epochs': 4}", "'epochs' twice, in line 4 and in line 5"),
        (
            '{"study": "a", "training": {"epochs": 1, "epochs": 2}}',
            "the key 'epochs' twice; remove",
        ),
        (BASE + "datasets: &a {x: *a}\n", "refers to itself"),
        (BASE + "data_folder: &a [*a]\n", "refers to itself"),
        (BASE + "notify: " + "[" * 3000 + "]" * 3000, "nested more than 50 levels"),
        ("[" * 30_000, "nested more than 50 levels"),
        (BASE + "\n".join(BOMB), f"stands for more than {MOST_ENTRIES:,} entries; use fewer"),
        (BASE + "\tdevice: cpu\n", "study.yaml, line 4, is not YAML (found character '\\t'"),
        (BASE + "notify: *nobody\n", "line 4, is not YAML (found undefined alias"),
        (BASE + "---\n" + BASE, "is not YAML (but found another document)"),
        (BASE + "notify: !!python/name:os.system x\n", "line 4, is not YAML"),
        (BASE + "? [a, b]\n: 3\n", "line 4, is not YAML (found unhashable key)"),
        (BASE + "notify: a\0b\n", "is not YAML (special characters are not allowed)"),
        (BASE + "runs_per_job: 1" + "0" * 5000, "a value that can't be read (Exceeds the limit"),
        (BASE + "notify: 2020-13-13\n", "a value that can't be read (month must be in 1..12)"),
        ("- study\n", "has no keys; begin with `study: NAME`"),
        ("study", "has no keys"),
        ("", "has no keys"),
        ("3", "has no keys"),
    ],
)
def test_what_is_no_config_is_told_by_file_and_line(tmp_path, text, words):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(WeightscapeError) as caught:
        check_file(path)
    assert str(caught.value).startswith(f"the config {path}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32"])
def test_another_encoding_is_told(tmp_path, encoding):
    path = tmp_path / "study.yaml"
    path.write_bytes((BASE + "notify: caf\u00e9\n").encode(encoding))
    with pytest.raises(WeightscapeError, match=r"is not UTF-8 text \(see byte \d+\); save it as"):
        check_file(path)


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_told(tmp_path, make):
    path = tmp_path / "study.yaml"
    make(path)
    with pytest.raises(WeightscapeError, match=r"can't be read \(.+\); name another by --conf"):
        check_file(path)
