"""Node strength with a head of a layer as one node (paper, section 3)."""

from __future__ import annotations

from weightscape.heads import LayerHead
from weightscape.measures.layer import LayerWeights
from weightscape.measures.layers.strength import Strengths, describe_nodes, in_out, strengths

HEAD = LayerHead(
    row="run and layer: node strength, with the heads of a layer as nodes",
    like="strength",
    figure=8,
    of_heads=True,
)


def describe(layer: LayerWeights) -> dict[str, object] | None:
    """The columns of strength; nothing of a layer without heads."""
    readers = [(link, reader) for link, reader in layer.readers if link.parts is not None]
    if not readers:
        return None
    link, reader = readers[-1]
    found = _pool(layer.once(strengths), link.parts or 1)
    return describe_nodes(found, layer.std) | in_out(found, link, reader)


def _pool(found: Strengths, parts: int) -> Strengths:
    incoming, signed = (s.reshape(parts, -1).sum(1) for s in (found.incoming, found.signed))
    fan_in = found.fan_in * len(found.incoming) // parts
    return Strengths(incoming, signed, found.outgoing, fan_in)
