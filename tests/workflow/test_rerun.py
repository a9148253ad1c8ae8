"""What is made again, and what is not."""

import os
import re

import h5py
import numpy as np
import pandas as pd

from project import Project


def test_a_new_seed_trains_only_that_seed(finished):
    before = finished.shards()
    finished.study["populations"][0]["seeds"] = 3
    assert finished.planned()["train_runs"] == 2  # one at each of two widths
    finished.succeed("results/test/tables/statistics.csv")
    after = finished.shards()
    assert len(after) == 6
    statistics = pd.read_csv(finished.results / "tables" / "statistics.csv")
    assert (statistics.groupby("layer")["seed"].value_counts() == 2).all()  # of two widths
    assert len(statistics) == 6 * 3
    assert {name: after[name] for name in before} == before


def test_a_copy_of_the_checkout_compiles_nothing_anew(finished):
    """Twenty CPU seconds, in each copy that numba's own cache would take for another project."""
    kernels = finished.folder / "workflow/weightscape/kernels"

    def compiled() -> dict:
        return {path: path.stat().st_mtime_ns for path in kernels.glob("__pycache__/*/*-*")}

    before = compiled()
    assert any("dnn.train" in path.name for path in before)
    finished.study["populations"][0]["seeds"] = 3
    finished.succeed("results/test/weights/dnn/digits/width-8/seeds-0002.h5")
    assert compiled() == before


def test_a_new_width_trains_only_that_width(finished):
    finished.study["populations"][0]["widths"].append(3)
    assert finished.planned()["train_runs"] == 2


def test_more_runs_per_job_keep_the_shards_that_are_there(finished):
    finished.study["runs_per_job"] = 4
    assert finished.planned() == {}
    finished.study["populations"][0]["seeds"] = 6
    assert finished.planned()["train_runs"] == 4  # seeds 2-3 and 4-5 at each of two widths


def test_runs_per_job_changes_no_weight(finished, fresh):
    fresh.study["runs_per_job"] = 2
    fresh.succeed("results/test/weights/dnn/digits/width-8/seeds-0000-0001.h5")
    folder = "weights/dnn/digits/width-8"
    with h5py.File(fresh.results / folder / "seeds-0000-0001.h5") as together:
        for row in (0, 1):
            with h5py.File(finished.results / folder / f"seeds-{row:04d}.h5") as alone:
                assert alone["seed"][0] == together["seed"][row]
                for layer in ("fc1", "fc2", "fc3"):
                    for kind in ("weight", "bias"):
                        name = f"epochs/3/{layer}/{kind}"
                        np.testing.assert_array_equal(alone[name][0], together[name][row])


def test_an_edited_script_or_plot_retrains_nothing(finished):
    for path in [
        *finished.folder.glob("workflow/scripts/*.py"),
        *finished.folder.glob("workflow/weightscape/**/*.py"),
        *finished.folder.glob("workflow/rules/*.smk"),
    ]:
        path.write_text(path.read_text() + "\n# edited\n")
    assert "train_runs" not in finished.planned()


def test_a_figure_option_redraws_and_retrains_nothing(finished):
    finished.study["figures"] = {"dpi": 100}
    counts = finished.planned()
    of_all = {f"plot_population_{cost}": 1 for cost in ("shards", "pairs", "study")}
    assert counts == of_all | {"all": 1}
    finished.succeed()
    png = (finished.results / "figures" / "claim_C1-dnn-digits.png").read_bytes()
    assert png[png.index(b"pHYs") + 4 :][:4] == round(100 / 0.0254).to_bytes(4)  # dots per metre


def drawn_and_kept(finished) -> tuple[set[str], set[str]]:
    """The figures that the last jobs drew, and those that they left as they were."""
    found = {"drew": set(), "kept": set()}
    for log in finished.results.glob("logs/plot_population_*/**/*.log"):
        for what, figure in re.findall(r" (drew|kept) .*figures/(\w+)-dnn", log.read_text()):
            found[what].add(figure)
    return found["drew"], found["kept"]


def test_a_figure_is_drawn_again_alone_where_only_its_tables_change(finished):
    figures = finished.results / "figures"
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    finished.study["density"] = {"bandwidth": "isj"}
    assert finished.planned()["plot_population_shards"] == 1
    finished.succeed()
    drawn, kept = drawn_and_kept(finished)
    assert "density" in drawn
    assert {"statistics", "strength", "spectra", "convergence", "telemetry"} <= kept
    after = {path.name: path.read_bytes() for path in figures.iterdir()}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"density-dnn-digits.svg", "density-dnn-digits.png"}
    assert finished.planned() == {}


def test_a_figure_that_fails_leaves_all_as_they_were_until_it_is_mended(finished):
    figures = finished.results / "figures"
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    code = finished.folder / "workflow" / "weightscape" / "figures" / "strength.py"
    text = code.read_text()
    code.write_text(
        text.replace("    figure, panels", "    raise ValueError(1)\n    figure, panels", 1)
    )
    assert code.read_text() != text
    done = finished.run("-R", "plot_population_shards")
    assert done.returncode != 0
    assert "no backup found" not in done.stderr
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == before
    code.write_text(text)
    finished.succeed()
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == before


def test_a_figure_that_is_gone_or_cut_off_is_drawn_again_alone(finished):
    figures = finished.results / "figures"
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    (figures / "spectra-dnn-digits.png").unlink()
    os.truncate(figures / "strength-dnn-digits.svg", 60)
    os.truncate(figures / "telemetry-dnn-digits.png", 9000)  # behind what it tells of itself
    finished.succeed()
    drawn, kept = drawn_and_kept(finished)
    assert {"spectra", "strength", "telemetry"} <= drawn
    assert {"statistics", "density", "convergence"} <= kept
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == before


def test_another_bandwidth_or_perplexity_measures_only_what_it_touches(finished):
    finished.study["density"] = {"bandwidth": "isj"}
    counts = finished.planned()
    assert counts["measure_densities"] == 1
    assert not {"train_runs", "collect_runs", "measure_weights", "measure_purity"} & set(counts)
    del finished.study["density"]
    finished.study["projection"] = {"perplexities": [5]}
    counts = finished.planned()
    assert counts["measure_projection"] == 1
    assert not {"train_runs", "measure_weights", "measure_purity"} & set(counts)


def test_layers_of_many_runs_have_jobs_of_their_own(test_study, tmp_path):
    study = test_study | {
        "populations": [{"model": "dnn", "dataset": "digits", "widths": [2], "seeds": 101}]
    }
    counts = Project.create(tmp_path / "project", study).planned()
    assert (counts["measure_projection"], counts["join_layers_projection"]) == (3, 1)


def test_a_table_of_another_version_is_made_anew_and_not_misread(finished):
    """A column more, or under another name, is another parameter of the rule."""
    path = finished.folder / "workflow/weightscape/measures/runs/purity.py"
    text = path.read_text()
    assert '"neighbours":' in text
    path.write_text(text.replace('"neighbours":', '"n_neighbours":'))
    counts = finished.planned()
    assert counts["measure_purity"] == counts["measure_claims"] == counts["judge_claims"] == 1
    assert not {"train_runs", "collect_runs", "measure_weights", "measure_matching"} & set(counts)


def test_another_alpha_judges_anew_and_measures_nothing(finished):
    finished.study["claims"] = {"alpha": 0.01}
    counts = finished.planned()
    assert counts["judge_claims"] == counts["measure_null_effects"] == 1
    assert counts["plot_population_study"] == 1
    assert not {"train_runs", "collect_runs", "measure_weights", "measure_nulls"} & set(counts)


def test_another_device_retrains_nothing(finished):
    finished.study["device"] = "cpu"
    assert finished.planned() == {}


def test_another_data_folder_changes_nothing(finished, tmp_path):
    finished.study["data_folder"] = str(tmp_path)
    assert finished.planned() == {}


def test_another_accuracy_regroups_and_retrains_nothing(finished):
    finished.study["groups"] = {"accuracy": "test"}
    counts = finished.planned()
    assert counts["group_runs"] == counts["measure_purity"] == counts["measure_densities"] == 1
    of_runs = {"weights", "nulls", "matching", "projection"}
    assert not {"train_runs", "collect_runs", *(f"measure_{name}" for name in of_runs)} & set(
        counts
    )


def test_another_learning_rate_retrains_everything_and_says_why(finished):
    finished.study["training"]["learning_rate"] = 0.002
    output = finished.succeed("-n")
    assert finished.planned()["train_runs"] == 4
    train = output[output.index("rule train_runs:") :].split("\n\n")[0]
    assert "Params have changed since last execution" in train


def test_a_deleted_shard_is_made_again_with_what_follows(finished):
    shard = finished.results / "weights" / "dnn" / "digits" / "width-8" / "seeds-0001.h5"
    before = finished.shards()
    shard.unlink()
    counts = finished.planned()
    assert counts["train_runs"] == 1
    assert {"collect_runs", "measure_weights", "plot_population_shards"} <= set(counts)
    finished.succeed("weights")
    after = finished.shards()
    assert after.keys() == before.keys()
    same = {name for name in after if name != "dnn/digits/width-8/seeds-0001.h5"}
    assert all(after[name] == before[name] for name in same)


def test_a_corrupted_shard_is_named_and_refused(finished):
    shard = finished.results / "weights" / "dnn" / "digits" / "width-8" / "seeds-0001.h5"
    size = shard.stat().st_size
    os.truncate(shard, size // 2)
    done = finished.run()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    message = next(line for line in output.splitlines() if line.startswith("weightscape:"))
    assert str(shard.relative_to(finished.folder)) in message
    assert "refused" in message
    assert "delete it" in message
    assert "Traceback" not in output
    shard.unlink()
    finished.succeed("results/test/tables/runs.csv")


def test_a_shard_that_is_a_copy_of_another_is_refused(finished):
    """Else one run would stand for two, and another be gone."""
    folder = finished.results / "weights" / "dnn" / "digits" / "width-8"
    (folder / "seeds-0000.h5").write_bytes((folder / "seeds-0001.h5").read_bytes())
    done = finished.run()
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "seeds-0000.h5 is refused: it holds the seeds [1], and its name says others" in output
    assert "Traceback" not in output


def test_a_shard_of_another_recipe_is_refused(finished, fresh):
    fresh.study["training"]["learning_rate"] = 0.01
    name = "results/test/weights/dnn/digits/width-8/seeds-0001.h5"
    fresh.succeed(name)
    (finished.folder / name).write_bytes((fresh.folder / name).read_bytes())
    done = finished.run()
    assert done.returncode != 0
    assert "its recipe_digest is" in done.stdout + done.stderr
