"""What is noted of a run after each epoch: its curves, its telemetry and its last predictions."""

import numpy as np

from weightscape.engine.stack import Evaluation, Scores
from weightscape.storage.shards import CURVES


class Recorder:
    """Curves and telemetry of one run, column by column, and its last test predictions."""

    def __init__(self, epochs: int):
        self.columns = epochs + 1
        self.curves = {name: np.full(self.columns, np.nan) for name in CURVES}
        self.telemetry: dict[str, np.ndarray] = {}
        self.predicted = np.empty(0)

    def epoch(self, epoch: int, train: Scores, test: Evaluation, norms: dict[str, float]) -> None:
        for name, value in zip(CURVES, (*train, *test.scores), strict=True):
            self.curves[name][epoch] = value
        self.predicted = test.predicted
        for layer, fired in test.active.items():
            self._note(f"dead_units/{layer}", epoch, 1 - float(np.mean(fired)))
        for layer, norm in norms.items():
            self._note(f"gradient_norm/{layer}", epoch, norm)

    def _note(self, name: str, epoch: int, value: float) -> None:
        column = self.telemetry.setdefault(name, np.full(self.columns, np.nan))
        column[epoch] = value

    def final(self, train: Scores) -> dict[str, float]:
        """By each of CURVES: `train` is of the final weights, as the last of the others are."""
        last = {name: float(self.curves[name][-1]) for name in ("test_loss", "test_accuracy")}
        return {"train_loss": train.loss, "train_accuracy": train.accuracy} | last
