"""The papers behind the probe."""

CITATIONS = (
    "C. Snell, R. Zhong, D. Klein, J. Steinhardt. Approximating How Single Head Attention Learns. arXiv:2103.07601,"
    " 2021.",
)
