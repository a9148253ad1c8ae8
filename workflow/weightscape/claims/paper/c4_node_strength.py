"""C4: node strengths of neighbouring layers correlate, and rise with accuracy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from weightscape.claims.effects import spearman
from weightscape.claims.evidence import Evidence, Statement
from weightscape.heads import ClaimHead

HEAD = ClaimHead(
    says="Node strengths of neighbouring layers correlate, and rise with accuracy (ViT: fall).",
    figures="8-10",
    reads=("statistics", "strength"),
    statistics={
        "strength_mean": "mean node strength",
        "strength_pair": "strength, layer against next",
        "strength_pair_high": "strength, layer against next, of high runs",
        "in_out_spearman": "strength in against out, over nodes",
    },
    varies=("split", "non", "widths", "edges"),
)

FALLING = ("vit",)  # families whose node strength falls with accuracy, by the paper


def statements(evidence: Evidence) -> Iterator[Statement]:
    """C4: node strengths of neighbouring layers correlate, and rise with accuracy.

    Layers are neighbours if one reads the nodes of the other: a ViT's query, key and value are not.
    Other edges make other statements of the high runs alone.
    """
    rises = -1 if evidence.family in FALLING else 1
    means = {layer: evidence.column("strength", layer, "mean") for layer in evidence.layers}
    strength = evidence.tables["strength"].dropna(subset="target")
    pairs = dict.fromkeys(zip(strength["layer"], strength["target"], strict=True))
    is_high = evidence.groups == "high"
    for one, following in pairs:
        x, y = np.where(is_high, means[one], np.nan), means[following]
        effect = spearman(x, y, evidence.widths, evidence.draws)
        layers = f"{one}-{following}"
        yield Statement(layers, "strength_pair_high", "spearman", 1, effect, None, x, y)
    if evidence.way.is_of_other_edges:
        return
    for layer in evidence.layers:
        yield evidence.with_accuracy(layer, "strength_mean", rises, means[layer])
    for one, following in pairs:
        x, y = means[one], means[following]
        effect = spearman(x, y, evidence.widths, evidence.draws)
        yield Statement(f"{one}-{following}", "strength_pair", "spearman", 1, effect, None, x, y)
    for layer in dict.fromkeys(strength["layer"]):
        x = evidence.column("strength", layer, "in_out_spearman")
        yield evidence.with_accuracy(layer, "in_out_spearman", 1, x)
