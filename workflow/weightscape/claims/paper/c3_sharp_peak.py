"""C3: the weight density of accurate runs has a sharp peak near zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="Their weight density has a sharp peak near zero.",
    figures="5-7",
    reads=("statistics",),
    statistics={
        "near_zero_share": "share within 0.1 σ of zero",
        "initial_near_zero_share": "share within 0.1 initial σ of zero",
        "excess_kurtosis": "excess kurtosis",
        "density_at_zero": "height of the density at zero",
    },
)


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C3: the density of high-accuracy runs has a sharp peak near zero."""
    for name in HEAD.statistics:
        for layer in evidence.layers:
            x = evidence.column("statistics", layer, name)
            if not len(x) or np.isfinite(x).any():  # imported runs may have no initial weights
                yield evidence.with_accuracy(layer, name, 1, x)
