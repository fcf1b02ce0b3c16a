"""How closely results must agree; loosening a line needs a decision record in docs/adr/."""

# A backend of attention against the oracle in float64: the largest error over 1 + the largest true value.

TOLERANCES = {
    # dtype: {output: tolerance}; gradients are sums over more terms than outputs
    "float64": {"out": 1e-12, "grad": 1e-11},
    "float32": {"out": 2e-6, "grad": 1e-5},
    "bfloat16": {"out": 1.6e-2, "grad": 3e-2},
    "float16": {"out": 2e-3, "grad": 6e-3},
}

# Golden values (tests/golden) on another machine than the one that made them. There they are equal to the last digit.
# Other instructions (AVX-512, AVX2, none) and two threads instead of one moved the losses of 20 steps by 7e-7; the rest
# is for other processors and versions of torch, which order sums in other ways.
GOLDEN_ELSEWHERE = 1e-4
