"""Training speed beside its peers and its floor; `make bench` calls it.

    python -m benchmarks.training FOLDER_OF_PREPARED_DATASETS OUT.csv [--model M] [--width W]

All contenders of a case train in this one process, on one thread, in turns of about the same
time, and the rates that the floor is made of are measured in turns between theirs. A figure is the
least of a contender's turns, since what disturbs a turn only ever adds. All are CPU time of this
process; where the floor comes out above ours, what was measured is no good, and is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from benchmarks import torch_peers
from benchmarks.case import BATCH, Case, Contender, make_case, make_stack, parse
from benchmarks.floor import Floor
from weightscape.engine.devices import make_deterministic
from weightscape.storage.tables import write_table

COLUMNS = ("model", "dataset", "width", "runs_per_job", "contender", "cpu_us_per_step")
CASES = [
    *(("dnn", "mnist", width) for width in ("5", "20", "50", "100", "200")),
    ("dnn", "cifar10", "1000"),
    *(("cnn", "mnist", width) for width in ("1", "4", "16", "64")),
    ("cnn", "cifar10", "16"),
    ("vit", "mnist", "8"),
]
TURNS = 5
SECONDS_PER_TURN = 0.5
STEPS = (2, 600)  # at least and at most, in a turn
PATIENCE = 5.0  # seconds; a contender whose turn takes longer has one


Makers = list[Callable[[Case], Contender]]


def ours(case: Case) -> Contender:
    """The engine, as a training job uses it."""
    stack = make_stack(case)

    def train(batches: np.ndarray) -> None:
        stack.train_epoch(batches.reshape(1, -1).astype(np.int32))

    return Contender("ours", 1, train)


def peers() -> Makers:
    try:
        from benchmarks import jax_peers
    except ImportError as error:
        raise SystemExit(f"benchmarks: {error}; `make bench` installs what it needs") from error
    return [
        torch_peers.in_memory,
        torch_peers.stacked,
        jax_peers.scanned,
        jax_peers.stacked,
        torch_peers.data_loader,
    ]


def measure(case: Case, makers: Makers, floor: Floor) -> Iterator[tuple[str, int, float]]:
    """(contender, runs, CPU microseconds of a step of one run) for all contenders, in turns with
    each other and with the floor."""
    contenders = [make(case) for make in makers]
    random = np.random.default_rng(0)

    def turn(contender: Contender, steps: int) -> float:
        batches = random.permutation(len(case.labels))[: steps * BATCH].reshape(-1, BATCH)
        started = time.process_time()
        contender.train(batches)
        return (time.process_time() - started) / steps / contender.runs

    most = min(STEPS[1], len(case.labels) // BATCH)
    steps, best = {}, {}
    for contender in contenders:
        turn(contender, STEPS[0])  # compiles what it must
        seconds = turn(contender, STEPS[0]) * contender.runs
        steps[contender.name] = int(np.clip(SECONDS_PER_TURN / seconds, STEPS[0], most))
        turn(contender, steps[contender.name])
        best[contender.name] = float("inf")
    for number in range(TURNS):
        floor.turn()
        for contender in contenders:
            name = contender.name
            if best[name] * contender.runs * steps[name] > PATIENCE and number:
                continue
            best[name] = min(best[name], turn(contender, steps[name]))
    for contender in contenders:
        yield contender.name, contender.runs, 1e6 * best[contender.name]


def benchmark(case: Case, makers: Makers) -> list[dict[str, object]]:
    """The rows of a case, floor and ours first; prints them with their ratios to ours."""
    floor = Floor(case)
    measured = list(measure(case, [ours, *makers], floor))
    arithmetic, moving = floor.us()
    rows = [("floor", 1, arithmetic + moving), *measured]
    mine = measured[0][2]
    refuse_below_floor(case, arithmetic + moving, mine)
    print(f"\n{case.model} on {case.dataset}, width {case.width}: CPU us a step of one run")
    for name, runs, us in rows:
        note = f"  ({arithmetic:.0f} arithmetic, {moving:.0f} bytes)" if name == "floor" else ""
        print(f"  {name:17} {runs:2} {us:12,.0f} {us / mine:8.2f} x ours{note}", flush=True)
    return [
        dict(
            zip(
                COLUMNS,
                (case.model, case.dataset, case.width, runs, name, f"{us:.1f}"),
                strict=True,
            )
        )
        for name, runs, us in rows
    ]


def refuse_below_floor(case: Case, floor: float, ours: float) -> None:
    if floor > ours:
        raise SystemExit(
            f"benchmarks: {case.model} on {case.dataset}, width {case.width}, took {ours:,.0f} us a"
            f" step, under its floor of {floor:,.0f} us: the machine was too busy or changed its"
            " pace; measure again when it is idle"
        )


def main() -> None:
    parser = parse(__doc__)
    parser.add_argument("--model", choices=["dnn", "cnn", "vit"], help="this model alone")
    parser.add_argument("--width", help="this width alone")
    arguments = parser.parse_args()
    make_deterministic("cpu", threads=1, with_torch=True)
    rows = []
    for model, dataset, width in CASES:
        if arguments.model in (None, model) and arguments.width in (None, width):
            case = make_case(model, arguments.datasets / f"{dataset}.h5", width)
            rows += benchmark(case, peers())
    write_table(pd.DataFrame(rows), arguments.out)


if __name__ == "__main__":
    main()
