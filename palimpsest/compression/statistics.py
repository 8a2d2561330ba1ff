"""What methods may know of the inputs of the layers that share them, and the factorization that these layers share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from palimpsest.compression.columns import Swept

T = TypeVar("T")

TILE = 256  # columns of the Gram matrix that are worked on at once
PIECE = 1 << 18  # of its entries, where they are moved
SURE = 0.05  # of a difference's first term: what is left is then right to about 1e-4


class InverseFactor(NamedTuple):
    """Uᵀ diag(d)² U = (G + δI)⁻¹: the columns of the Gram matrix G are in `order`, `added` is the diagonal of δI."""

    upper: Float[Tensor, "in in"]
    diagonal: Float[Tensor, " in"]
    added: Float[Tensor, " in"]
    order: Integer[Tensor, " in"]

    def loss(self, swept: Swept) -> float | None:
        """E‖(W - Q)x‖² of a sweep with this factor; None where rounding leaves too little of it to tell.

        W - Q = E U, so tr((W - Q)(G + δI)(W - Q)ᵀ) = Σ_j ‖e_j‖² / d_j²: no product with G is needed.
        """
        damped = (swept.errors / self.diagonal.square()).sum(dtype=torch.float64).item()
        loss = damped - (swept.changes * self.added).sum(dtype=torch.float64).item()
        return loss if loss > SURE * damped else None


class Statistics:
    """Sums over the tokens of X (tokens, in), in float32: those named in `needs` and no more (registry.STATISTICS).

    `name` is what errors call the inputs: the layers that they enter. `layer` gives the same for one of these layers.
    """

    fisher: Float[Tensor, "out in"] | None = None  # E[(∂L/∂W)²] of one layer (fisher.py)
    unit: int = 1  # so many neighbouring channels belong together (the heads that share a key and a value)

    def __init__(self, width: int, name: str = "the layer", needs: Collection[str] = ("gram",)) -> None:
        self.name = name
        self.needs = frozenset(needs)
        self.tokens = 0
        self.record: dict[str, object] = {}  # what was done to make a factorization work; goes into compression.json
        self._gram = torch.zeros(width, width) if "gram" in self.needs else None
        self._squares = torch.zeros(width)
        self._magnitudes = torch.zeros(width, dtype=torch.float64)
        self._peaks = torch.zeros(width)
        self._samples: list[tuple[int, Tensor]] = []  # tokens and sum of each calibration row
        self._shared: dict[tuple, tuple] = {}  # what `once` and `shared` keep: results, and what is said of them
        self._layers: dict[str, dict[tuple, tuple]] = {}
        self._own: dict[tuple, tuple] = {}

    @classmethod
    def of(
        cls, inputs: Float[Tensor, "tokens in"], name: str = "the layer", needs: Collection[str] = ("gram",)
    ) -> Statistics:
        """The statistics of one tensor."""
        statistics = cls(inputs.shape[-1], name, needs)
        statistics.add(inputs)
        return statistics

    def layer(self, name: str, fisher: Float[Tensor, "out in"] | None = None, unit: int = 1) -> Statistics:
        """The same sums and shared factorizations, for one layer: with its Fisher information and its own results."""
        view = copy.copy(self)
        view.name, view.fisher, view.unit, view.record = name, fisher, unit, {}
        view._own = self._layers.setdefault(name, {})
        return view

    def once(self, key: tuple, compute: Callable[[], T]) -> T:
        """`compute()`, kept for the other levels of this layer."""
        return self._kept(self._own, key, compute)

    def shared(self, key: tuple, compute: Callable[[], T]) -> T:
        """`compute()`, kept for all layers that share these inputs."""
        return self._kept(self._shared, key, compute)

    def _kept(self, kept: dict[tuple, tuple], key: tuple, compute: Callable[[], T]) -> T:
        if key not in kept:
            before, self.record = self.record, {}
            value = compute()
            kept[key] = value, self.record
            self.record = before
        value, record = kept[key]
        self.record |= record  # whoever uses a result says how it was made
        return value

    @property
    def width(self) -> int:
        return len(self._squares)

    def add(self, inputs: Float[Tensor, "... in"], valid: Bool[Tensor, "rows length"] | None = None) -> None:
        """Add the tokens of `inputs`; where `valid` is given, only those (padding is not a token)."""
        if inputs.shape[-1] != self.width:
            raise PalimpsestError(
                f"{self.name}: inputs of width {inputs.shape[-1]} where the weight has {self.width} columns."
            )
        tokens = inputs.reshape(-1, self.width).float()  # some models flatten rows on the way
        x = tokens if valid is None or valid.all() else tokens[valid.flatten()]
        self.tokens += len(x)
        if self._gram is not None:
            for start, stop in _tiles(self.width):
                self._gram[start:stop, start:].addmm_(x[:, start:stop].T, x[:, start:])
            self._squares = self._gram.diagonal().clone()
        else:
            self._squares = self._squares + x.square().sum(0)
        # Any NaN or infinity among the inputs is in the sums of squares too.
        if not torch.isfinite(self._squares).all():
            channels = (~torch.isfinite(self._squares)).nonzero().flatten().tolist()
            raise PalimpsestError(
                f"{self.name}: the inputs have NaN, infinite or overflowing values in {len(channels)} of {self.width} "
                f"channels (first: {channels[0]}). The checkpoint or the inputs are damaged, or an earlier block is."
            )
        if "input_magnitudes" in self.needs:
            self._magnitudes += x.abs().sum(0, dtype=torch.float64)
        if "input_peaks" in self.needs and len(x):
            self._peaks = torch.maximum(self._peaks, x.abs().amax(0))
        if self.needs & {"input_means", "sample_means"}:
            counts = [len(x)] if valid is None else valid.sum(1).tolist()
            sums = (part.sum(0, dtype=torch.float64) for part in x.split(counts))
            self._samples += zip(counts, sums, strict=True)

    @property
    def input_norms(self) -> Float[Tensor, " in"]:
        """‖X_j‖, the Euclidean norm of each input channel over the tokens."""
        return self._squares.sqrt()

    @property
    def input_magnitudes(self) -> Float[Tensor, " in"]:
        """E[|x_j|]."""
        return (self._wanted("input_magnitudes", self._magnitudes) / self.tokens).float()

    @property
    def input_peaks(self) -> Float[Tensor, " in"]:
        """max |x_j|."""
        return self._wanted("input_peaks", self._peaks)

    @property
    def input_means(self) -> Float[Tensor, " in"]:
        """E[x_j]."""
        sums = torch.stack([total for _, total in self._wanted("input_means", self._samples)])
        return (sums.sum(0) / self.tokens).float()

    @property
    def sample_means(self) -> tuple[Float[Tensor, "samples in"], Float[Tensor, " samples"]]:
        """E[x] of each calibration row that has tokens, and its number of tokens; float64."""
        samples = [(count, total) for count, total in self._wanted("sample_means", self._samples) if count]
        counts = torch.tensor([count for count, _ in samples], dtype=torch.float64)
        return torch.stack([total for _, total in samples]) / counts[:, None], counts

    @property
    def gram(self) -> Float[Tensor, "in in"]:
        """XᵀX / tokens: the second moments of the inputs; a new tensor each time."""
        return self._moments(torch.float32)

    def _moments(self, dtype: torch.dtype) -> Tensor:
        gram = self._wanted("gram", self._gram).to(dtype, copy=True).div_(self.tokens)
        for start, stop in _tiles(self.width):
            gram[stop:, start:stop] = gram[start:stop, stop:].T
        return gram

    def energy(self, matrix: Float[Tensor, "out in"]) -> float:
        """E‖Mx‖² = tr(M G Mᵀ), with G the Gram matrix: how much a matrix (float32) answers to these inputs."""
        moments, total = self._wanted("gram", self._gram), 0.0
        for start, stop in _tiles(self.width):
            part = matrix[:, start:stop]
            answer = part @ moments[start:stop, start:stop]
            answer.addmm_(matrix[:, :start], moments[:start, start:stop], alpha=2)
            total += (answer * part).sum(dtype=torch.float64).item()
        return max(total, 0.0) / self.tokens

    def _wanted(self, statistic: str, value: T) -> T:
        known = {"input_means", "sample_means"} if statistic in ("input_means", "sample_means") else {statistic}
        if not self.needs & known:
            raise PalimpsestError(f"{self.name}: {statistic} of the inputs was not collected.")
        return value

    def inverse_factor(self, damping: float, by_size: bool = False) -> InverseFactor:
        """U, upper triangular with a unit diagonal, and d with Uᵀ diag(d)² U = (G + δI)⁻¹, for GPTQ and SparseGPT.

        δ is `damping` times the mean diagonal of the Gram matrix G; a channel that was never active counts as an
        average one. `by_size` puts the channels with the largest diagonal first (act-order). Computed once for all
        layers that share these inputs, in float64 where float32 does not do.
        """

        def compute() -> InverseFactor:
            moments = self._wanted("gram", self._gram).diagonal() / self.tokens
            alive = moments > 0
            mean = moments[alive].mean().item() if alive.any() else 1.0
            damped = torch.where(alive, moments, mean) + damping * mean
            order = torch.argsort(damped, descending=True, stable=True) if by_size else torch.arange(self.width)
            self.record["damping"] = damping * mean
            upper = self._inverse(damped, order if by_size else None, damping)
            diagonal = upper.diagonal().clone()
            return InverseFactor(upper.div_(diagonal[:, None]), diagonal, (damped - moments)[order], order)

        return self.shared(("inverse", damping, by_size), compute)

    def _inverse(self, diagonal: Float[Tensor, " in"], order: Tensor | None, damping: float) -> Tensor:
        for dtype in (torch.float32, torch.float64):
            # The Cholesky factor of H from its last column on is the upper triangular M with H = M Mᵀ, so U = M⁻¹: no
            # explicit inverse of H. All in one place: the matrix may be larger than a block's weights.
            upper = self._moments(dtype)
            upper.diagonal().copy_(diagonal)
            upper = upper if order is None else upper[order[:, None], order]
            _reverse(upper)
            factor, failed = upper.mT, torch.empty((), dtype=torch.int32)
            torch.linalg.cholesky_ex(factor, upper=True, out=(factor, failed))
            _reverse(upper)
            _invert_upper(upper)
            if not failed and finite(upper):
                self.record["factorization"] = str(dtype).removeprefix("torch.")
                return upper.float()
        raise PalimpsestError(
            f"{self.name}: the Gram matrix of {self.tokens} tokens has no Cholesky factor with damping {damping}. "
            "Use more calibration text, or a larger damping, e.g. options: {damping: 0.1}."
        )

    def root(self, damping: float) -> Float[Tensor, "in in"]:
        """A symmetric R with RR = G + δI, float64; δ is `damping` times the mean diagonal of the Gram matrix G."""

        def compute() -> Tensor:
            values, vectors = torch.linalg.eigh(self.damped_gram(damping))
            return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

        return self.shared(("root", damping), compute)

    def damped_gram(self, damping: float) -> Float[Tensor, "in in"]:
        """G + δI in float64; δ is `damping` times the mean diagonal of the Gram matrix G (1 if all inputs are zero)."""
        gram = self._moments(torch.float64)
        mean = gram.diagonal().mean().item() or 1.0
        gram.diagonal().add_(damping * mean)
        self.record |= {"damping": damping * mean, "factorization": "float64"}
        return gram


def finite(matrix: Tensor) -> bool:
    """Whether no entry is NaN or infinite: many times as fast as torch.isfinite of each, and without its copies."""
    low, high = matrix.aminmax()
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _tiles(width: int) -> list[tuple[int, int]]:
    """Runs of columns. A symmetric matrix is worked on above them and in them only: nearly half of it is spared."""
    return [(start, min(start + TILE, width)) for start in range(0, width, TILE)]


def _invert_upper(matrix: Float[Tensor, "n n"]) -> None:
    """Invert an upper triangular matrix in place, by halves: ((A, B), (0, C))⁻¹ = ((A⁻¹, -A⁻¹BC⁻¹), (0, C⁻¹))."""
    half = len(matrix) // 2
    if half < 128:
        unit = torch.eye(len(matrix), dtype=matrix.dtype)
        matrix.copy_(torch.linalg.solve_triangular(matrix, unit, upper=True))
        return
    _invert_upper(matrix[:half, :half])
    _invert_upper(matrix[half:, half:])
    corner = matrix[:half, half:]
    corner.copy_((matrix[:half, :half] @ corner) @ matrix[half:, half:]).neg_()


def _reverse(matrix: Float[Tensor, "n n"]) -> None:
    """Put the rows, and the columns, of a contiguous matrix in the opposite order, in place."""
    entries = matrix.view(-1)
    for start in range(0, len(entries) // 2, PIECE):
        stop = min(start + PIECE, len(entries) // 2)
        first, last = entries[start:stop], entries[len(entries) - stop : len(entries) - start]
        first[:], last[:] = last.flip(0), first.flip(0)
