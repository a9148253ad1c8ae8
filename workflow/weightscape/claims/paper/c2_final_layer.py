"""C2: the low standard deviation of accurate runs is clearest in the final layer."""

from __future__ import annotations

from collections.abc import Iterator

from weightscape.claims.effects import spearman_difference
from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="That is strongest in the final layer.",
    figures="2-4",
    reads=("statistics",),
    statistics={"std": "σ of the weights: final layer less an earlier one"},
)


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C2: C1's correlation is most negative in the final layer."""
    *earlier, final = evidence.layers
    std = {layer: evidence.column("statistics", layer, "std") for layer in evidence.layers}
    for layer in earlier:
        effect = spearman_difference(
            std[final],
            std[layer],
            evidence.accuracy,
            evidence.widths,
            evidence.draws,
            evidence.reliability,
        )
        yield Statement(f"{final}-{layer}", "std", "spearman_difference", -1, effect)
