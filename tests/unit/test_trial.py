"""A model that does not keep the contract is told by its file, before it is trained."""

import json
import os

import pytest

from cases import make_recipe
from weightscape import models
from weightscape.engine.training import TrainingJob, train_shard
from weightscape.engine.trial import try_model
from weightscape.errors import WeightscapeError
from weightscape.study import config as configs

WHOLE = """
from weightscape.models import Layer, Link, Model


class Net(Model):
    @staticmethod
    def check_width(width, options):
        int(width)

    def __init__(self, width, shape, classes, options):
        super().__init__(width, shape, classes, options)
        self.layers = [Layer("fc1", (int(width), 16)), Layer("fc2", (classes, int(width)))]

    def forward(self, p, images, drop):
        hidden = (images.flatten(1) @ p["fc1.weight"].T + p["fc1.bias"]).relu()
        return hidden @ p["fc2.weight"].T + p["fc2.bias"], {"fc1": hidden}

    @staticmethod
    def links(width, options):
        return [Link(("fc1",), "fc2")]
"""
FAULTS = {
    "logits alone": (
        '+ p["fc2.bias"], {"fc1": hidden}',
        '+ p["fc2.bias"]',
        "forward returns a Tensor; return logits, and a dict of each ReLU layer's output",
    ),
    "an unused layer": (
        'Layer("fc2",',
        'Layer("spare", (2, 3)), Layer("fc2",',
        "the logits do not depend on spare.weight, spare.bias; use it, or leave it out",
    ),
    "no gradient": (
        '+ p["fc2.bias"], {',
        '+ p["fc2.bias"].detach(), {',
        "the logits do not depend on fc2.bias",
    ),
    "nothing to learn": (
        'return hidden @ p["fc2.weight"].T + p["fc2.bias"]',
        'return (hidden @ p["fc2.weight"].T + p["fc2.bias"]).detach()',
        "the logits do not depend on fc1.weight, fc1.bias, fc2.weight, fc2.bias",
    ),
    "a transposed shape": (
        '(int(width), 16)), Layer("fc2", (classes, int(width)))',
        '(16, int(width))), Layer("fc2", (int(width), classes))',
        "mat1 and mat2 shapes cannot be multiplied (3x16 and 5x16)) with fc1.weight (16, 5), "
        "fc1.bias (16,), fc2.weight (5, 3), fc2.bias (5,), where a weight is (out, in)",
    ),
    "another name": (
        'p["fc2.bias"]',
        'p["fc2.bais"]',
        "forward reads the parameter 'fc2.bais', but there are fc1.weight, fc1.bias, fc2.weight",
    ),
    "a key of its own": (
        'p["fc2.bias"]',
        'p["fc2.bias"] + {}["fc1.bias"]',
        "forward fails (KeyErr",
    ),
    "other logits": (
        "hidden @ p",
        "hidden[:, None] @ p",
        "the logits of 3 images have the shape (3, 1, 3); it must be (3, 3)",
    ),
    "units of no layer": (
        '{"fc1": hidden}',
        '{"relu": hidden}',
        "returns the output of 'relu'; its",
    ),
    "other units": ('fc1": hidden}', 'fc1": hidden.T}', "output of fc1 is (5, 3); it must be (3"),
    "a batch that is mixed": (
        "hidden @",
        "hidden.cumsum(0) @",
        "the logits of an image depend on the other images of its batch",
    ),
    "a number that is none": ("hidden @", "(hidden / 0) @", "its logits are not finite"),
    "links that fail": ("return [Link(", "return 1 / 0, [Link(", "links fails (ZeroDivisionErr"),
    "no list of links": (
        "return [Link(",
        "return None and [Link(",
        "links returns no list of Link",
    ),
    "a link to nothing": (
        '("fc1",), "fc2"',
        '("fc1",), "fc3"',
        "links names 'fc3'; its layers are",
    ),
    "a link that does not fit": (
        '("fc1",), "fc2"',
        '("fc2",), "fc1"',
        "fc1 has 16 columns, which aren't 3 nodes of fc2",
    ),
    "no layers": ("self.layers = ", "layers = ", "__init__ leaves no list of Layer in `layers`"),
    "layers that are none": ("self.layers = [", "self.layers = [3, ", "leaves no list of Layer"),
    "an odd parameter": (
        "self.layers = ",
        'self.auxiliary = {"a/b": ((2,), "zeros")}; self.layers = ',
        "the auxiliary parameter 'a/b' needs a name of letters, digits and _, and zeros, ones",
    ),
    "another start": (
        "self.layers = ",
        'self.auxiliary = {"gain": ((2,), "one")}; self.layers = ',
        "the auxiliary parameter 'gain' needs",
    ),
    "an odd name": ('Layer("fc1"', 'Layer("fc 1"', "the layer 'fc 1' needs a name of its own, of"),
    "a name twice": ('Layer("fc1"', 'Layer("fc2"', "the layer 'fc2' needs a name of its own"),
    "an odd shape": (
        "(int(width), 16)",
        "(int(width),)",
        "the layer fc1 has the shape (5,), but a",
    ),
    "a wrong call": (
        "super().__init__(width, ",
        "super().__init__(",
        "__init__ fails (TypeError: ",
    ),
}


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Take a file from outside of the library, for one test."""
    monkeypatch.setenv(models.FILES, "{}")

    def write(text, name="net"):
        (tmp_path / f"{name}.py").write_text(text)
        models.use_files([str(tmp_path / f"{name}.py")])
        configs.load_schema.cache_clear()
        return tmp_path / f"{name}.py"

    yield write
    models._tell({})
    configs.load_schema.cache_clear()


def attempt(classes=3):
    try_model("net", "5", (1, 4, 4), classes, {})


def test_a_whole_model_is_taken(use):
    use(WHOLE)
    attempt()


@pytest.mark.parametrize("name", models.TRIED)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_the_library_s_own_keep_the_contract(name, shape):
    options = {
        key: schema["default"] for key, schema in models.families()[name].OPTIONS.items()
    } | ({"d_model": 8, "feedforward": 4} if name == "vit" else {})
    try_model(name, "2", shape, 10, options)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_that_names_the_file(use, fault):
    old, new, words = FAULTS[fault]
    assert old in WHOLE
    path = use(WHOLE.replace(old, new))
    with pytest.raises(WeightscapeError) as caught:
        attempt()
    text = str(caught.value)
    assert text.startswith(f"the model net ({path}): ")
    assert words in text
    assert text.endswith("; docs/extending.md says what a model needs")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "from torch import nn\n\nclass Net(nn.Module): pass\n",
            "net.py has no class of Model; docs",
        ),
        (WHOLE.replace("def forward", "def backward"), "net.py lacks forward; docs/extending.md"),
        (WHOLE.replace("def check_width", "def check"), "net.py lacks check_width; docs"),
        (WHOLE + "\n\nclass Other(Net): pass\n", "net.py has 2 classes of Model; leave one"),
        (
            WHOLE.replace("Net(Model):", "Net(Model):\n    OPTIONS = {'gain': {}}\n"),
            "net.py has OPTIONS that are no dictionary of schemas, each with a default; docs",
        ),
        ("def", "net.py can't be imported (SyntaxError: "),
        ("import nothing_here", "can't be imported (ModuleNotFoundError: No module named 'nothing"),
        ("1 / 0", "net.py can't be imported (ZeroDivisionError: division by zero); correct it"),
    ],
)
def test_a_file_that_is_no_model_is_one_sentence(use, text, words):
    with pytest.raises(WeightscapeError) as caught:
        use(text)
    assert words in str(caught.value)
    assert "net" not in models.families()


def test_a_file_has_the_name_of_its_model(use, tmp_path):
    with pytest.raises(WeightscapeError, match="the name of the file is that of the model; write"):
        use(WHOLE, "My-Net")
    with pytest.raises(WeightscapeError, match=r"there is a model dnn already; rename the file"):
        use(WHOLE, "dnn")
    use(WHOLE)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "net.py").write_text(WHOLE)
    with pytest.raises(WeightscapeError, match=r"net\.py is the model net already; rename one"):
        models.use_files([str(tmp_path / "other" / "net.py")])


def test_other_processes_find_the_file_by_the_environment(use):
    path = use(WHOLE)
    assert json.loads(os.environ[models.FILES]) == {"net": str(path)}
    assert models.source("net") == str(path)


def test_the_file_s_content_is_part_of_the_recipe(use, small):
    from weightscape.study import populations, recipe

    def of(text):
        path = use(text)
        models._tell({"net": str(path)})
        small["populations"][0] |= {"model": "net", "widths": [3]}
        config = configs.check(small | {"model_files": [str(path)]})
        (population,) = populations(config)
        return recipe(config, population)

    one, other = of(WHOLE), of(WHOLE + "\n")
    assert one.pop("code") != other.pop("code")
    assert one == other
    small["populations"][0] |= {"model": "dnn"}
    config = configs.check(small)
    assert "code" not in recipe(config, populations(config)[0])


@pytest.mark.parametrize("fault", ["no layers", "links that fail", "a wrong call"])
def test_what_the_parse_needs_is_told_with_the_config(use, small, fault):
    old, new, words = FAULTS[fault]
    use(WHOLE.replace(old, new))
    small["populations"][0] |= {"model": "net", "widths": [3]}
    with pytest.raises(WeightscapeError) as caught:
        configs.check(small)
    assert "- populations[0].model: the model net (" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["away.py"], "model_files[0]: there is no file away.py; correct the path"),
        (["net.txt"], "model_files[0]: 'net.txt' is not allowed; write a path that ends in .py"),
        ("net.py", "model_files: 'net.py' must be a list"),
        ([3], "model_files[0]: 3 must be text"),
        (["bad.py"], "model_files[0]: "),
    ],
)
def test_a_wrong_file_is_told_by_its_key(small, use, tmp_path, monkeypatch, files, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text("x")
    with pytest.raises(WeightscapeError) as caught:
        configs.check(small | {"model_files": files}, "my.yaml")
    assert words in str(caught.value)
    assert str(caught.value).startswith("the config my.yaml can't be used:")


def test_a_file_that_has_changed_since_the_plan_trains_nothing(use, dataset, tmp_path):
    path = use(WHOLE)
    job = TrainingJob(
        dataset=dataset,
        target=tmp_path / "s.h5",
        model="dnn",
        width="3",
        seeds=[0],
        recipe=make_recipe() | {"code": "0123"},
        snapshot_epochs=[],
        device="cpu",
        threads=1,
    )
    with pytest.raises(WeightscapeError, match=r"dnn\.py has changed since the study started; run"):
        train_shard(job)
    with pytest.raises(WeightscapeError, match=rf"{path} has changed since the study started"):
        train_shard(job._replace(model="net", recipe=make_recipe() | {"code": "0123"}))
    assert not (tmp_path / "s.h5").exists()
