"""`STUDY CONFIG MODEL DATASET` publishes a population; without, all are made anew and compared."""

import sys
from pathlib import Path

from weightscape.errors import WeightscapeError
from weightscape.publishing.data import publish
from weightscape.publishing.judging import check_effects, judge_all


def main(arguments: list[str]) -> None:
    if arguments:
        study, config, model, dataset = arguments
        publish(Path(study), Path(config), model, dataset)
    else:
        for sentence in check_effects():
            print(sentence, flush=True)
    judge_all()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except WeightscapeError as error:
        sys.exit(f"error: {error}")
