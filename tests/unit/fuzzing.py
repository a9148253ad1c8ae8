"""What the fuzz tests share: how many examples, and damage to the bytes of a file.

WEIGHTSCAPE_FUZZ is the number of examples of each test; the same ones each time, unless it is set.
"""

import os
import struct

from hypothesis import settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("WEIGHTSCAPE_FUZZ", "30"))
fuzzed = settings(max_examples=EXAMPLES, derandomize="WEIGHTSCAPE_FUZZ" not in os.environ)

FAULTS = ("flip", "bytes", "number", "cut", "hole", "zeros", "twice", "swap")


@st.composite
def damage(draw, content):
    """The bytes of a file with a few faults, from another bit to a piece that is moved."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(damaged) - 1, 0)))
        piece = slice(start, start + draw(st.integers(1, 600)))
        match draw(st.sampled_from(FAULTS)):
            case "flip" if damaged:
                damaged[start] ^= 1 << draw(st.integers(0, 7))
            case "bytes":
                length = draw(st.integers(1, 20))
                damaged[start : start + length] = draw(st.binary(max_size=length))
            case "number":  # as lengths and offsets are
                number = draw(st.sampled_from([0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1]))
                damaged[start : start + 4] = struct.pack("<I", number)
            case "cut":
                del damaged[start:]
            case "hole":
                del damaged[piece]
            case "zeros":
                damaged[piece] = bytes(len(damaged[piece]))
            case "twice":
                damaged[start:start] = damaged[piece]
            case "swap":
                damaged[piece], damaged[:0] = b"", damaged[piece]
    return bytes(damaged)
