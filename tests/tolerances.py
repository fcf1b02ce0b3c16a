"""How close a backend must come to the oracle in float64: the largest error over 1 + the largest true value.

One table for all tests of attention; loosening a line needs a decision record in docs/adr/.
"""

TOLERANCES = {
    # dtype: {output: tolerance}; gradients are sums over more terms than outputs
    "float64": {"out": 1e-12, "grad": 1e-11},
    "float32": {"out": 2e-6, "grad": 1e-5},
    "bfloat16": {"out": 1.6e-2, "grad": 3e-2},
    "float16": {"out": 2e-3, "grad": 6e-3},
}
