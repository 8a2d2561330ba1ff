"""What methods may know of the inputs of the layers that share them, and the factorization that these layers share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from palimpsest.provenance import PalimpsestError

T = TypeVar("T")


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
        x = tokens if valid is None else tokens[valid.flatten()]
        self.tokens += len(x)
        if self._gram is not None:
            self._gram.addmm_(x.T, x)
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
        """XᵀX / tokens: the second moments of the inputs."""
        return self._wanted("gram", self._gram) / self.tokens

    def _wanted(self, statistic: str, value: T) -> T:
        known = {"input_means", "sample_means"} if statistic in ("input_means", "sample_means") else {statistic}
        if not self.needs & known:
            raise PalimpsestError(f"{self.name}: {statistic} of the inputs was not collected.")
        return value

    def inverse_factor(self, damping: float, by_size: bool = False) -> tuple[Float[Tensor, "in in"], Tensor]:
        """The upper triangular U with UᵀU = (G + δI)⁻¹ for GPTQ and SparseGPT, and the order of its columns.

        δ is `damping` times the mean diagonal of the Gram matrix G; a channel that was never active counts as an
        average one. `by_size` puts the channels with the largest diagonal first (act-order). Computed once for all
        layers that share these inputs, in float64 where float32 does not do.
        """

        def compute() -> tuple[Tensor, Tensor]:
            gram = self.gram
            diagonal = gram.diagonal()
            alive = diagonal > 0
            mean = diagonal[alive].mean().item() if alive.any() else 1.0
            diagonal.masked_fill_(~alive, mean)
            diagonal.add_(damping * mean)
            order = torch.argsort(diagonal, descending=True, stable=True) if by_size else torch.arange(self.width)
            if by_size:
                gram = gram[order][:, order]
            self.record["damping"] = damping * mean
            return self._inverse(gram, damping), order

        return self.shared(("inverse", damping, by_size), compute)

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

        def compute() -> Tensor:
            values, vectors = torch.linalg.eigh(self.damped_gram(damping))
            return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

        return self.shared(("root", damping), compute)

    def damped_gram(self, damping: float) -> Float[Tensor, "in in"]:
        """G + δI in float64; δ is `damping` times the mean diagonal of the Gram matrix G (1 if all inputs are zero)."""
        gram = self.gram.double()
        mean = gram.diagonal().mean().item() or 1.0
        gram.diagonal().add_(damping * mean)
        self.record |= {"damping": damping * mean, "factorization": "float64"}
        return gram
