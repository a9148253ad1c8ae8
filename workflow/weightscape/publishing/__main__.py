"""`STUDY CONFIG MODEL DATASET [FOLDER]` publishes a population; without, all are made anew."""

import sys
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.publishing.data import FOLDER, publish, studies
from weightscape.publishing.figures import draw_figures
from weightscape.publishing.judging import check_effects, judge_all


def main(arguments: list[str]) -> None:
    if arguments:
        study, config, model, dataset, *other = arguments
        folders = [Path(*other) if other else FOLDER]
        publish(Path(study), Path(config), model, dataset, folders[0])
        for name in [] if other else draw_figures(FOLDER, model):
            print(f"{name} is not drawn whole, since some of its densities are not published")
    else:
        folders = studies()
        for folder in folders:
            for sentence in check_effects(folder):
                print(sentence, flush=True)
    for folder in folders:
        judge_all(folder)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WeightscapeError as error:
        sys.exit(f"error: {error}")
