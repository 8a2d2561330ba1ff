"""What methods may know of the inputs of the layers that share them, and the factorization that these layers share."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.provenance import PalimpsestError


class Statistics:
    """Sums over the tokens of X (tokens, in), in float32.

    `name` is what errors call the inputs: the layers that they enter. Without `gram` only the norms are kept.
    """

    def __init__(self, width: int, name: str = "the layer", gram: bool = True) -> None:
        self.name = name
        self.tokens = 0
        self.record: dict[str, object] = {}  # what was done to make a factorization work; goes into compression.json
        self._sums = torch.zeros(width, width) if gram else None
        self._squares = torch.zeros(width)
        self._factors: dict[tuple, Tensor] = {}

    @classmethod
    def of(cls, inputs: Float[Tensor, "tokens in"], name: str = "the layer", gram: bool = True) -> Statistics:
        """The statistics of one tensor."""
        statistics = cls(inputs.shape[-1], name, gram)
        statistics.add(inputs)
        return statistics

    @property
    def width(self) -> int:
        return len(self._squares)

    def add(self, inputs: Float[Tensor, "... in"], valid: Bool[Tensor, "*rows"] | None = None) -> None:
        """Add the tokens of `inputs`; where `valid` is given, only those (padding is not a token)."""
        if inputs.shape[-1] != self.width:
            raise PalimpsestError(
                f"{self.name}: inputs of width {inputs.shape[-1]} where the weight has {self.width} columns."
            )
        tokens = inputs.reshape(-1, self.width)  # some models flatten rows on the way
        x = (tokens if valid is None else tokens[valid.flatten()]).float()
        self.tokens += len(x)
        if self._sums is not None:
            self._sums.addmm_(x.T, x)
            squares = self._sums.diagonal()
        else:
            squares = x.square().sum(0)
        self._squares = squares.clone() if self._sums is not None else self._squares + squares
        # Any NaN or infinity among the inputs is in the sums of squares too.
        if not torch.isfinite(self._squares).all():
            channels = (~torch.isfinite(self._squares)).nonzero().flatten().tolist()
            raise PalimpsestError(
                f"{self.name}: the inputs have NaN, infinite or overflowing values in {len(channels)} of {self.width} "
                f"channels (first: {channels[0]}). The checkpoint or the inputs are damaged, or an earlier block is."
            )

    @property
    def input_norms(self) -> Float[Tensor, " in"]:
        """‖X_j‖, the Euclidean norm of each input channel over the tokens."""
        return self._squares.sqrt()

    @property
    def gram(self) -> Float[Tensor, "in in"]:
        """XᵀX / tokens: the second moments of the inputs."""
        if self._sums is None:
            raise PalimpsestError(f"{self.name}: the Gram matrix of the inputs was not collected.")
        return self._sums / self.tokens

    def inverse_factor(self, damping: float, by_size: bool = False) -> tuple[Float[Tensor, "in in"], Tensor]:
        """The upper triangular U with UᵀU = (G + δI)⁻¹ for GPTQ and SparseGPT, and the order of its columns.

        δ is `damping` times the mean diagonal of the Gram matrix G; a channel that was never active counts as an
        average one. `by_size` puts the channels with the largest diagonal first (act-order). Computed once for all
        layers that share these inputs, in float64 where float32 does not do.
        """
        key = ("inverse", damping, by_size)
        if key not in self._factors:
            gram = self.gram
            diagonal = gram.diagonal()
            alive = diagonal > 0
            mean = diagonal[alive].mean().item() if alive.any() else 1.0
            diagonal.masked_fill_(~alive, mean)
            diagonal.add_(damping * mean)
            order = torch.argsort(diagonal, descending=True, stable=True) if by_size else torch.arange(self.width)
            gram = gram[order][:, order]
            self._factors[key] = self._inverse(gram, damping), order
            self.record["damping"] = damping * mean
        return self._factors[key]

    def _inverse(self, gram: Tensor, damping: float) -> Tensor:
        for dtype in (torch.float32, torch.float64):
            # flip(chol(flip(H))) is the upper triangular M with H = M Mᵀ, so U = M⁻¹: no explicit inverse of H.
            lower, failed = torch.linalg.cholesky_ex(gram.to(dtype).flip(0, 1))
            upper = torch.linalg.solve_triangular(lower.flip(0, 1), torch.eye(self.width, dtype=dtype), upper=True)
            if not failed and torch.isfinite(upper).all():
                self.record["factorization"] = str(dtype).removeprefix("torch.")
                return upper.float()
        raise PalimpsestError(
            f"{self.name}: the Gram matrix of {self.tokens} tokens has no Cholesky factor with damping {damping}. "
            "Use more calibration text, or a larger damping, e.g. options: {damping: 0.1}."
        )

    def root(self, damping: float) -> Float[Tensor, "in in"]:
        """A symmetric R with RR = G + δI, float64; δ is `damping` times the mean diagonal of the Gram matrix G."""
        key = ("root", damping)
        if key not in self._factors:
            gram = self.damped_gram(damping)
            values, vectors = torch.linalg.eigh(gram)
            self._factors[key] = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return self._factors[key]

    def damped_gram(self, damping: float) -> Float[Tensor, "in in"]:
        """G + δI in float64; δ is `damping` times the mean diagonal of the Gram matrix G (1 if all inputs are zero)."""
        gram = self.gram.double()
        mean = gram.diagonal().mean().item() or 1.0
        gram.diagonal().add_(damping * mean)
        self.record |= {"damping": damping * mean, "factorization": "float64"}
        return gram
