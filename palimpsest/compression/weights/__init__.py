"""What a compressed matrix is made of, a module a kind; `CompressedWeight.from_tensors` knows them all.

Values and factors keep the data type of the checkpoint, so that a weight that a method leaves alone is exactly the
checkpoint's; `from_tensors` gives back the same matrix, bit by bit.
"""

from palimpsest.compression.weights.base import CompressedWeight
from palimpsest.compression.weights.codebook import Codebook
from palimpsest.compression.weights.dense import Dense, Whole
from palimpsest.compression.weights.lowrank import LowRank
from palimpsest.compression.weights.mixed import Mixed
from palimpsest.compression.weights.quantized import Quantized, group_of_columns
from palimpsest.compression.weights.sliced import Sliced
from palimpsest.compression.weights.sparse import Sparse
from palimpsest.compression.weights.sparse_quantized import SparseQuantized

__all__ = [
    "Codebook",
    "CompressedWeight",
    "Dense",
    "LowRank",
    "Mixed",
    "Quantized",
    "Sliced",
    "Sparse",
    "SparseQuantized",
    "Whole",
    "group_of_columns",
]
