"""The config: every default, and faults that name their key and say what to do."""

import copy
from pathlib import Path

import pytest
import yaml

from weightscape.errors import WeightscapeError
from weightscape.study.catalogue import BUILTIN
from weightscape.study.config import PATTERNS, TYPES, check, load_schema
from weightscape.study.widths import width_parts

CONFIGS = Path(__file__).parents[2] / "config"


def change(config, path, value):
    """Set the key `a.0.b` of a config."""
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    node = config
    for parent in parents:
        node = node[parent] if isinstance(node, list) else node.setdefault(parent, {})
    node[last] = value
    return config


def fault(config):
    with pytest.raises(WeightscapeError) as caught:
        check(config)
    return str(caught.value)


def test_left_out_keys_get_the_paper_s_values(small):
    full = check(small)
    assert full["training"] == {
        "epochs": 20,
        "batch_size": 100,
        "optimiser": "adam",
        "learning_rate": 0.001,
        "initialisation": {"weights": "normal", "std": 0.05, "biases": "uniform"},
        "snapshots": [0, "last"],
        "threads": 1,
    }
    assert full["models"]["cnn"] == {"head": "flatten"}
    assert full["models"]["vit"] == {
        "tokens": "patches",
        "d_model": 784,
        "feedforward": 2048,
        "dropout": 0.1,
        "depth": 1,
    }
    assert full["groups"]["accuracy"] == "train"
    assert full["groups"]["edges"] == "paper"
    assert full["figures"]["colour"] == "test"
    assert (full["runs_per_job"], full["device"], full["data_folder"]) == (1, "auto", None)


def test_given_values_are_kept(small):
    change(small, "training.epochs", 7)
    change(small, "training.initialisation.std", 1)
    change(small, "models.vit.d_model", 12)
    full = check(small)
    assert full["training"]["epochs"] == 7
    assert full["training"]["initialisation"] == {
        "weights": "normal",
        "std": 1,
        "biases": "uniform",
    }
    assert full["models"]["vit"]["d_model"] == 12
    for found, given in zip(full["populations"], small["populations"], strict=True):
        assert found == given | {"options": {}}


def test_the_given_config_stays_as_it_is(small):
    before = copy.deepcopy(small)
    check(small)
    assert small == before


def test_defaults_are_not_shared_between_configs(small):
    check(small)["training"]["snapshots"].append(7)
    check(small)["groups"]["quantiles"]["low"][0] = 0.1
    full = check(small)
    assert full["training"]["snapshots"] == [0, "last"]
    assert full["groups"]["quantiles"]["low"] == [0, 0.25]


def test_a_full_config_is_full(small):
    # each job of a workflow gets the filled config and checks it again
    full = check(small)
    assert check(full) == full


def test_own_datasets_are_filled_and_known(small, own):
    small["datasets"] = {"stars": {"file": own["file"]}}
    small["populations"][0]["dataset"] = "stars"
    assert check(small)["datasets"] == {"stars": own}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("populatons", "did you mean 'populations'"),
        ("training.epoch", "did you mean 'epochs'"),
        ("training.initialisation.sdt", "did you mean 'std'"),
        ("populations.0.sede", "did you mean 'seeds'"),
        ("groups.quantiles.hihg", "did you mean 'high'"),
        ("models.vitt", "did you mean 'vit'"),
        ("models.vit.dmodel", "did you mean 'd_model'"),
        ("models.cnn.heads", "did you mean 'head'"),
        ("figures.zzz", "colour, dpi"),
        ("models.dnn.zzz", "none"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(small, path, words):
    text = fault(change(small, path, 1))
    assert path.replace(".0.", "[0].") in text
    assert words in text


def test_seeds_are_a_number_or_crossed(small):
    for seeds, expected in (
        (1e2, 100),
        ({"init": 1e1, "shuffle": 3}, {"init": 10, "shuffle": 3}),
    ):
        small["populations"][0]["seeds"] = seeds
        found = check(small)["populations"][0]["seeds"]
        assert found == expected
        assert {type(n) for n in (found.values() if isinstance(found, dict) else [found])} == {int}


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (0, "0 is too small"),
        ("ten", "'ten' must be a whole number or a mapping"),
        ([3, 4], "[3, 4] must be a whole number"),
        (2.5, "2.5 must be a whole number"),
        ({"init": 3}, "'shuffle' is missing"),
        ({"init": 3, "shufle": 4}, "did you mean 'shuffle'"),
        ({"init": 0, "shuffle": 4}, "seeds.init: 0 is too small"),
        ({"init": 3, "shuffle": True}, "seeds.shuffle: True must be a whole number"),
    ],
)
def test_seeds_of_another_form_are_refused(small, seeds, words):
    small["populations"][0]["seeds"] = seeds
    text = fault(small)
    assert "populations[0].seeds" in text
    assert words in text


@pytest.mark.parametrize("key", ["study", "populations"])
def test_a_missing_key_is_named(small, key):
    del small[key]
    assert key in fault(small).replace("the config can't be used", "")


@pytest.mark.parametrize("key", ["model", "dataset", "widths", "seeds"])
def test_a_missing_key_of_a_population_is_named(small, key):
    del small["populations"][0][key]
    text = fault(small)
    assert "populations[0]" in text
    assert f"'{key}'" in text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("study", 5),
        ("study", ""),
        ("study", "a/b"),
        ("study", "../a"),
        ("study", "datasets"),
        ("study", "benchmarks"),
        ("populations", []),
        ("populations", None),
        ("populations", {"model": "dnn"}),
        ("populations.0.model", 1),
        ("populations.0.dataset", None),
        ("populations.0.seeds", -1),
        ("populations.0.seeds", 0),
        ("populations.0.seeds", 2.5),
        ("populations.0.seeds", True),
        ("populations.0.seeds", "many"),
        ("populations.0.widths", []),
        ("populations.0.widths", 5),
        ("populations.0.widths", [0]),
        ("populations.0.widths", [-4]),
        ("populations.0.widths", [4.5]),
        ("populations.0.widths", ["x5"]),
        ("populations.0.widths", ["5x"]),
        ("populations.0.widths", ["-5"]),
        ("populations.0.widths", [5, 5]),
        ("populations.0.widths", [5, "5"]),
        ("populations.0.edges", {"low": [0, 1], "mid": [2, 3]}),
        ("populations.0.edges", {"low": [0, 1], "mid": [3, 2], "high": [4, 5]}),
        ("populations.0.edges", {"low": [0, 1], "mid": [2, 3], "high": [4, 101]}),
        ("populations.0.edges", {"low": [0, 1], "mid": [2, 3], "high": [4]}),
        ("runs_per_job", 0),
        ("runs_per_job", -5),
        ("device", "tpu"),
        ("data_folder", 3),
        ("datasets", []),
        ("training", None),
        ("training.epochs", 0),
        ("training.epochs", -20),
        ("training.epochs", "ten"),
        ("training.batch_size", 0),
        ("training.optimiser", "sgd"),
        ("training.learning_rate", 0),
        ("training.learning_rate", -0.1),
        ("training.learning_rate", "1e-x"),
        ("training.initialisation.weights", "gaussian"),
        ("training.initialisation.std", -0.05),
        ("training.initialisation.biases", "ones"),
        ("training.snapshots", [-1]),
        ("training.snapshots", [21]),
        ("training.snapshots", [0, 0]),
        ("training.snapshots", ["first"]),
        ("training.threads", 0),
        ("models.cnn.head", "max"),
        ("models.vit.tokens", "pixels"),
        ("models.vit.d_model", 0),
        ("models.vit.dropout", 1),
        ("models.vit.depth", 0),
        ("groups.accuracy", "validation"),
        ("groups.edges", "mine"),
        ("groups.quantiles.low", [0.5, 0.2]),
        ("groups.quantiles.high", [0, 2]),
        ("groups.quantiles.mid", [0.1]),
        ("figures.colour", "loss"),
        ("figures.dpi", 10),
        ("figures.dpi", 5000),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(small, path, value):
    assert path.replace(".0.", "[0].") in fault(change(small, path, value))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("study", "a/b", "study: 'a/b' is not allowed; write letters, digits, - and _ only"),
        ("study", "datasets", "study: 'datasets' is not allowed; choose another"),
        ("populations.0.widths", [], "widths: the list needs at least 1 entry"),
        ("populations.0.widths", [5, 5], "widths: [5, 5] has an entry twice; remove one"),
        ("populations.0.widths", [5, "5"], "widths: a width is listed twice; remove one"),
        ("populations.0.dataset", "all", "dataset: tables have `all` for all of them together"),
        (
            "populations.0.widths",
            ["x5"],
            "widths[0]: 'x5' is not a valid value here; write a whole number from 1 to 1,000,000 "
            "or numbers joined by x, such as 20x50",
        ),
        ("groups.quantiles.low", [0, 0.1, 1], "low: the list may have at most 2 entries"),
        ("device", "tpu", "device: 'tpu' is not allowed; choose auto, cpu or cuda"),
        ("training.optimiser", "sgd", "'sgd' is not allowed; choose adam"),
        ("training.snapshots", [21], "snapshots: epoch 21 does not exist: training has 20 epochs"),
        (
            "training.snapshots",
            ["first"],
            "'first' is not a valid value here; write a whole number from 0 to 1,000,000 or last",
        ),
        ("data_folder", 3, "data_folder: 3 must be text or null"),
        ("models.vit.dropout", 1, "dropout: 1 must be below 1"),
    ],
)
def test_a_wrong_value_is_told_in_words(small, path, value, words):
    assert words in fault(change(small, path, value))


def test_the_schema_s_patterns_and_types_have_words():
    def walk(node):
        if isinstance(node, list):
            return [item for part in node for item in walk(part)]
        return [node, *walk(list(node.values()))] if isinstance(node, dict) else []

    parts = walk(load_schema())
    patterns = {part["pattern"] for part in parts if isinstance(part.get("pattern"), str)}
    assert patterns == set(PATTERNS)
    types = [part["type"] for part in parts if isinstance(part.get("type"), str | list)]
    assert {name for found in types for name in ([found] if isinstance(found, str) else found)} <= (
        set(TYPES)
    )
    for part in parts:  # an anyOf is told by its alternatives
        for one in part.get("anyOf", ()):
            assert {"pattern", "const"} & set(one) or {"type", "minimum", "maximum"} <= set(one), (
                one
            )


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("training.learning_rate", 10**400, "learning_rate: the number is too large; write one"),
        ("training.learning_rate", "1e400", "learning_rate: inf is not a finite number"),
        ("training.epochs", 10**12, "epochs: 1000000000000 is too large: at most 1000000"),
        ("populations.0.seeds", 10**401, "populations[0].seeds: the number is too large"),
        pytest.param(
            "populations.0.seeds",
            16**5000,  # which Python does not write out
            "populations[0].seeds: the number is too large",
            id="seeds",
        ),
        (
            "populations.0.seeds",
            {"init": 10**5, "shuffle": 10**5},
            "populations[0].seeds: init x shuffle is too large: at most 1,000,000",
        ),
        ("populations.0.widths", [10**7], "write a whole number from 1 to 1,000,000 or"),
        ("populations.0.widths", ["9" * 3000], "give at most 1,000,000 hidden units"),
        ("study", "test\n", "study: the text has the character U+000A, which is not printed; rem"),
        ("study", "a" * 101, "... is too long: at most 100 characters"),
        ("notify", "a\0b", "notify: the text has the character U+0000"),
        ("notify", "\ud800", "notify: the text has the character U+D800"),
        ("data_folder", "a\nb", "data_folder: the text has the character U+000A"),
        ("data_folder", "a" * 5000, "data_folder: the text is too long; write at most 4,096"),
        ("data_folder", "a" * 4000, "data_folder: there is no folder aaa"),
        ("datasets", {"stars": {"file": "a" * 4000 + ".npz"}}, "datasets.stars.file: there is no"),
        ("datasets", {"a" * 101: {"file": "a.npz"}}, "at most 100 characters"),
        ("datasets", {"stars\n": {"file": "a.npz"}}, "datasets: the key 'stars\\n' can't be used"),
        ("datasets", {1: {"file": "a.npz"}}, "datasets: the key 1 is no text; put it in quotes"),
        ("x\ud800", 1, "top level: the key 'x\\ud800' can't be used"),
    ],
)
def test_what_only_yaml_can_take_is_told(small, path, value, words):
    text = fault(change(small, path, value))
    assert words in text
    assert len(text) < 500


def test_a_command_may_have_several_lines(small):
    assert check(change(small, "notify", "a \\\n\tb"))["notify"] == "a \\\n\tb"


def test_a_config_without_end_is_told(small):
    small["datasets"] = small
    assert "refers to itself" in fault(small)
    small["datasets"] = [0]
    for _ in range(12):
        small["datasets"] = 10 * [small["datasets"]]
    assert "has more than 100,000 entries, or refers to itself" in fault(small)


def test_the_file_is_named(small):
    small["study"] = "a/b"
    with pytest.raises(
        WeightscapeError, match=r"^the config a\.yaml and --config can't be used:\n"
    ):
        check(small, "a.yaml and --config")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "+1e-3", ".01e-1"])
def test_a_number_that_yaml_takes_for_text_is_a_number(small, text):
    change(small, "training.learning_rate", text)
    change(small, "training.epochs", "1e2")
    change(small, "training.snapshots", ["1e1", 3.0])
    change(small, "study", "1e3")
    small["populations"][0] |= {"model": "vit", "options": {"dropout": text, "d_model": 64.0}}
    small["populations"][0]["widths"] = [4]
    full = check(small)
    assert full["training"]["learning_rate"] == 0.001
    assert (full["training"]["epochs"], full["study"]) == (100, "1e3")
    assert full["populations"][0]["options"]["dropout"] == 0.001
    numbers = *full["training"]["snapshots"], full["populations"][0]["options"]["d_model"]
    assert [type(n) for n in numbers] == [int, int, int]


def test_numbers_within_lists_of_the_command_line_are_numbers(small):
    """Snakemake takes all of them for text there."""
    small["populations"] = [
        {"model": "dnn", "dataset": "digits", "widths": ["2", "3x5"], "seeds": "3"},
        {
            "model": "cnn",
            "dataset": "digits",
            "widths": ["2"],
            "seeds": {"init": "2", "shuffle": "2"},
        },
    ]
    small["training"] = {"learning_rate": "0.25"}
    full = check(small)
    assert full["populations"][0]["seeds"] == 3
    assert full["populations"][1]["seeds"] == {"init": 2, "shuffle": 2}
    assert full["training"]["learning_rate"] == 0.25


def test_every_whole_number_has_a_bound():
    """Beyond it are file names and arrays that no machine holds."""

    def walk(node, where):
        for key, part in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(part, dict | list):
                yield from walk(part, f"{where}.{key}")
        if isinstance(node, dict) and "integer" in str(node.get("type")):
            yield where, node

    for where, part in walk(load_schema(), ""):
        assert "maximum" in part, where


@pytest.mark.parametrize("path", ["training.learning_rate", "training.initialisation.std"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(small, path, value):
    assert path in fault(change(small, path, value))


@pytest.mark.parametrize(
    "path",
    [
        "populations.0.seeds",
        "runs_per_job",
        "training.epochs",
        "training.batch_size",
        "training.threads",
        "models.vit.d_model",
    ],
)
def test_a_whole_number_is_one_or_is_refused(small, path):
    # YAML's 1.0e+2 is a float, which JSON schema takes for an integer, and range() does not
    change(small, path, 100.0)
    try:
        node = check(small)
    except WeightscapeError:
        return
    for part in path.split("."):
        node = node[int(part) if part.isdecimal() else part]
    assert type(node) is int


def test_all_faults_are_listed_at_once(small):
    change(small, "runs_per_job", 0)
    change(small, "training.epochs", "ten")
    change(small, "figures.size", 3)
    text = fault(small)
    assert all(key in text for key in ("runs_per_job", "training.epochs", "figures.size"))


@pytest.mark.parametrize(
    ("model", "width", "words"),
    [
        ("dnn", "5x5x5", "both hidden layers, or two numbers such as 20x50"),
        ("dnn", "0x5", "hidden units"),
        ("cnn", "3x3", "channels"),
        ("vit", 3, "2, 4, 7, 8, 14, 16"),
        ("vit", "2x2", "heads"),
    ],
)
def test_a_width_must_fit_its_model(small, model, width, words):
    small["populations"][0] |= {"model": model, "widths": [2, width]}
    text = fault(small)
    assert "populations[0].widths" in text
    assert str(width) in text
    assert words in text


def test_heads_are_checked_against_the_config_s_d_model(small):
    small["populations"][0] |= {"model": "vit", "widths": [3]}
    assert check(change(small, "models.vit.d_model", 12))
    assert "d_model = 16" in fault(change(small, "models.vit.d_model", 16))


def test_an_unknown_dataset_is_named(small):
    small["populations"][0]["dataset"] = "mnits"
    text = fault(small)
    assert "populations[0].dataset: 'mnits' is not known; did you mean 'mnist'? If it" in text
    small["populations"][0]["dataset"] = "stars"
    assert "cifar10. If it is a dataset of your own, describe it under datasets" in fault(small)


def test_an_unknown_model_is_named(small):
    small["populations"][0]["model"] = "lstm"
    text = fault(small)
    assert "populations[0].model" in text
    assert all(family in text for family in ("cnn", "dnn", "vit"))


def test_a_pair_of_model_and_dataset_stands_once(small):
    small["populations"].append(small["populations"][0] | {"widths": [9]})
    text = fault(small)
    assert "populations[1]" in text
    assert "dnn on digits is listed twice; put all its widths into one entry" in text


def test_a_data_folder_must_be_there(small, tmp_path):
    text = fault(change(small, "data_folder", str(tmp_path / "away")))
    assert "data_folder" in text
    assert str(tmp_path / "away") in text


def test_a_data_folder_must_hold_what_the_populations_need(small, tmp_path):
    small["data_folder"] = str(tmp_path)
    assert check(small), "digits need no files"
    small["populations"].append({"model": "cnn", "dataset": "cifar10", "widths": [1], "seeds": 1})
    for name in BUILTIN["cifar10"].files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert check(small)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    text = fault(small)
    assert "data_folder" in text
    assert "cifar-10-batches-py/data_batch_3" in text
    assert "data_batch_2" not in text
    assert "cifar10 needs it. Add it, or set data_folder to null to download" in text


@pytest.mark.parametrize(
    ("name", "described", "words"),
    [
        ("stars", {"file": "away.npz"}, "datasets.stars.file"),
        ("stars", {"file": "stars.csv"}, "datasets.stars.file"),
        ("stars", {}, "datasets.stars"),
        ("stars", {"file": "a.npz", "channels": "middle"}, "datasets.stars.channels"),
        ("stars", {"file": "a.npz", "lables": "y"}, "did you mean 'labels'"),
        ("mnist", {"file": "a.npz"}, "datasets.mnist"),
        ("Stars/x", {"file": "a.npz"}, "Stars/x"),
    ],
)
def test_a_fault_of_an_own_dataset_is_named(small, name, described, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.npz").touch()
    small["datasets"] = {name: described}
    assert words in fault(small)


def test_every_key_of_the_schema_has_a_description_and_every_optional_one_a_default():
    def walk(node, where, optional):
        if where:
            assert node.get("description"), where
            assert not optional or "default" in node, where
        for key, part in node.get("properties", {}).items():
            walk(part, f"{where}.{key}", key not in node.get("required", []))

    schema = load_schema()
    for key in ("training", "models", "groups", "figures"):
        walk(schema["properties"][key], key, True)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_configs_of_the_project_are_right(path):
    assert check(yaml.safe_load(path.read_text()))


def test_the_paper_s_config_is_table_1():
    full = check(yaml.safe_load((CONFIGS / "paper.yaml").read_text()))
    runs = {
        (item["model"], item["dataset"]): len(item["widths"]) * item["seeds"]
        for item in full["populations"]
    }
    assert runs == {
        (model, dataset): n
        for model, n in (("dnn", 1000), ("cnn", 1000), ("vit", 30))
        for dataset in ("mnist", "fmnist", "cifar10")
    }
    training = full["training"]
    assert (training["epochs"], training["batch_size"]) == (20, 100)
    assert (training["optimiser"], training["learning_rate"]) == ("adam", 0.001)
    assert training["initialisation"]["weights"] == "normal"
    assert full["models"]["vit"]["d_model"] == 784


def test_the_paper_s_widths_are_table_1():
    full = check(yaml.safe_load((CONFIGS / "paper.yaml").read_text()))
    widths = {(p["model"], p["dataset"]): p["widths"] for p in full["populations"]}
    for dataset, largest in (("mnist", 200), ("fmnist", 200), ("cifar10", 1000)):
        layers = [width_parts(str(width)) for width in widths["dnn", dataset]]
        assert (min(map(min, layers)), max(map(max, layers))) == (5, largest)
        # fc1 and fc2 are not tied: some have layers of two widths, in either order
        assert {(a, b) for a, b in filter(lambda two: len(two) > 1, layers)} == {
            (b, a) for a, b in filter(lambda two: len(two) > 1, layers)
        }
        assert sum(len(two) > 1 for two in layers) == 4
        assert widths["vit", dataset] == [2, 4, 7, 8, 14, 16]


def vit_on_digits(**options):
    item = {"model": "vit", "dataset": "digits", "widths": [4], "seeds": 1, "options": options}
    return {"study": "s", "models": {"vit": {"d_model": 8, "depth": 2}}, "populations": [item]}


def test_a_population_s_options_take_precedence_over_those_of_its_model():
    (population,) = check(vit_on_digits(d_model=32))["populations"]
    assert population["options"] == {
        "d_model": 32,
        "depth": 2,
        "tokens": "patches",
        "feedforward": 2048,
        "dropout": 0.1,
    }


def test_a_population_without_options_has_those_of_its_model(small):
    config = small | {"models": {"cnn": {"head": "gap"}}}
    config["populations"] = [{"model": "cnn", "dataset": "digits", "widths": [4], "seeds": 3}]
    assert check(config)["populations"][0]["options"] == {"head": "gap"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_modle": 32}, "populations[0].options.d_modle: unknown key; did you mean 'd_model'?"),
        ({"d_model": "big"}, "populations[0].options.d_model: 'big' must be a whole number"),
        ({"d_model": 30}, "populations[0].widths: 4 does not fit vit"),
        ({"head": "gap"}, "populations[0].options.head: unknown key"),
    ],
)
def test_wrong_options_of_a_population_are_named(options, message):
    with pytest.raises(WeightscapeError) as caught:
        check(vit_on_digits(**options))
    assert message in str(caught.value)


def test_options_of_a_population_are_in_its_recipe_and_plan():
    from weightscape import study
    from weightscape.monitor import plan

    config = check(vit_on_digits(d_model=32))
    (population,) = study.populations(config)
    assert study.recipe(config, population)["options"]["d_model"] == 32
    assert plan.network(config, population, "4").options["d_model"] == 32


def test_an_import_stands_alone_and_is_filled(zoo):
    full = check(zoo())
    assert full["populations"] == []
    (item,) = full["import"]
    assert (item["epochs"], item["options"]) == (1, {})
    assert item["layers"]["one"] == {"weight": "0.weight", "bias": None, "reads": None}
    assert list(item["layers"]) == ["one", "two"]
    assert check(full) == full


def test_an_import_of_a_family_needs_no_layers_and_takes_its_options(zoo):
    config = zoo()
    del config["import"][0]["layers"]
    config["import"][0] |= {"model": "vit", "options": {"d_model": 8}}
    (item,) = check(config | {"models": {"vit": {"depth": 2}}})["import"]
    assert item["layers"] == {}
    assert (item["options"]["d_model"], item["options"]["depth"]) == (8, 2)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("import.0.folder", "/nowhere", ["import[0].folder: there is no folder /nowhere"]),
        ("import.0.table", "/nowhere.csv", ["import[0].table: there is no table /nowhere.csv"]),
        ("import.0.model", "Mine", ["import[0].model: 'Mine'", "write small letters"]),
        ("import.0.dataset", "my pets", ["import[0].dataset: 'my pets'", "write small letters"]),
        ("import.0.classes", 1, ["import[0].classes", "too small"]),
        ("import.0.majority_share", 0, ["import[0].majority_share", "above 0"]),
        ("import.0.epochs", 0, ["import[0].epochs", "too small"]),
        ("import.0.layer", {}, ["import[0].layer: unknown key; did you mean 'layers'?"]),
        ("import.0.layers", {}, ["import[0].layers: mine is not a model family"]),
        ("import.0.layers.one.wait", 1, ["import[0].layers.one.wait", "did you mean 'weight'"]),
        ("import.0.layers.one", {"bias": None}, ["import[0].layers.one", "'weight' is missing"]),
        (
            "import.0.layers.a-b",
            {"weight": "w"},
            ["import[0].layers: the name 'a-b' is not allowed"],
        ),
        ("import.0.layers.two.reads", "oen", ["layers.two.reads", "did you mean 'one'?"]),
        ("import.0.layers.one.reads", "two", ["layers.one.reads", "listed before it: none"]),
        ("import.0.layers.two.reads", "two", ["layers.two.reads", "listed before it: one"]),
        ("import.0.options", {"depth": 2}, ["import[0].options: mine is not a model family"]),
        ("import.0.edges", {"low": [0, 1], "mid": [3, 2], "high": [4, 5]}, ["edges.mid"]),
        ("import.0.model", "dnn", ["import[0].layers: dnn has the layers fc1, fc2, fc3"]),
        ("imports", [], ["imports: unknown key; did you mean 'import'?"]),
    ],
)
def test_a_wrong_import_is_told(zoo, path, value, words):
    text = fault(change(zoo(), path, value))
    assert all(word in text for word in words), text


def test_a_brace_in_a_path_of_an_import_is_told(zoo, tmp_path):
    config = zoo(rows=("a{x},4,90,80", "b,4,91,81"))
    text = fault(config)
    assert f"{tmp_path}/runs.csv: a{{x}} has a brace, which is a wildcard to Snak" in text
    for key in ("folder", "table"):
        path = tmp_path / "{x}.csv"
        text = fault(zoo() | {"import": [zoo()["import"][0] | {key: str(path)}]})
        assert f"import[0].{key}: {path} has a brace, which is a wildcard to Snakemake; ren" in text


def test_a_missing_key_of_an_import_is_named(zoo):
    for key in ("model", "dataset", "folder", "table", "classes"):
        config = zoo()
        del config["import"][0][key]
        where = "import[0].table" if key == "table" else "import[0]"  # other sources have none
        assert f"{where}: the key '{key}' is missing" in fault(config)


def test_a_study_of_nothing_is_told(small):
    text = fault(small | {"populations": []})
    assert "the config lists no networks; add some to train under populations" in text


def test_a_pair_stands_once_over_populations_and_import(zoo, small):
    config = zoo()
    config["import"][0] |= {"model": "dnn", "dataset": "digits"}
    del config["import"][0]["layers"]
    text = fault(small | config)
    assert "import[0]: dnn on digits is listed twice; remove this entry or populations[0]" in text
    config["import"][0]["dataset"] = "mnist"
    assert len(check(small | config)["populations"]) == 1


def test_one_name_has_the_same_layers_on_all_datasets(zoo):
    config = zoo()
    other = copy.deepcopy(config["import"][0]) | {"dataset": "cars"}
    config["import"].append(other)
    check(config)
    other["layers"]["three"] = {"weight": "4.weight"}
    assert "import[1].layers: mine is imported twice with different layers" in fault(config)


def test_faults_of_a_table_are_faults_of_the_config_and_not_all_of_a_thousand(zoo):
    text = fault(zoo(rows=[f"{n}.pt,4.5,90,80" for n in range(1000)]))
    assert "line 2: '4.5' is not a width" in text
    assert text.count("is not a width") == 5
    assert "and 995 more mistakes" in text


def test_the_accuracy_that_groups_and_colours_has_to_be_there(zoo):
    config = zoo("file,width,test_accuracy\n", ["a,4,80", "b,4,81"])
    text = fault(config)
    assert "train_accuracy is missing for a (2 of 2 runs), and groups.accuracy is train" in text
    assert "set groups.accuracy: test" in text
    config["groups"] = {"accuracy": "test"}
    check(config)
    text = fault(config | {"figures": {"colour": "train"}})
    assert "figures.colour is train" in text
    assert "groups.accuracy is" not in text


def test_widths_of_a_family_s_import_fit_it(zoo):
    config = zoo(rows=["a,4,90,80", "b,2x3x4,90,80"])
    check(config)
    del config["import"][0]["layers"]
    config["import"][0]["model"] = "dnn"
    assert "import[0].table: 2x3x4 does not fit dnn" in fault(config)


def test_a_family_knows_what_its_layers_read(zoo):
    config = zoo()
    layers = {f"fc{n}": {"weight": f"{n}.w"} for n in (1, 2, 3)}
    config["import"][0] |= {"model": "dnn", "layers": layers}
    check(config)
    layers["fc2"]["reads"] = "fc1"
    assert "layers.fc2.reads: dnn already defines which layer reads which" in fault(config)
