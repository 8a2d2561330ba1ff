"""Measures of likeness, and their intervals by the jackknife over texts.

A statistic is carried as an array (…, texts + 1): first its value on all texts, then its values with each text left
out. Sums, differences and means of statistics are those of the arrays, and at the end one function turns an array into
a value with its interval.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

LEVEL = 0.95


def cosine(a: Float[Tensor, "*more tokens width"], b: Float[Tensor, "*more tokens width"]) -> Float[Tensor, "*more"]:
    """Cosine of the two rows of each token, mean over tokens."""
    return torch.nn.functional.cosine_similarity(a, b, dim=-1).mean(-1)


def jensen_shannon(
    p: Float[Tensor, "*more tokens keys"], q: Float[Tensor, "*more tokens keys"]
) -> Float[Tensor, "*more"]:
    """Jensen-Shannon divergence of the two distributions of each token in bits (0 to 1), mean over tokens."""
    entropy = torch.special.entr
    found = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return (found.sum(-1).clamp(min=0) / np.log(2)).mean(-1)


def means(values: np.ndarray) -> np.ndarray:
    """The mean over texts, (texts, …), as a statistic, (…, texts + 1)."""
    total, count = values.sum(0), len(values)
    return np.moveaxis(np.concatenate([total[None] / count, (total - values) / (count - 1)]), 0, -1)


def linear_cka(x: np.ndarray, y: np.ndarray, texts: np.ndarray | None = None) -> np.ndarray:
    """Linear CKA (Kornblith et al. 2019, arXiv:1905.00414) as a statistic, (texts + 1,).

    x, y: (examples, features) of each model. texts: (examples,), the number of each example's text from 0 on; each is a
        text of its own if left out.

    With fewer examples than features the plain HSIC is biased upwards, and the unbiased one takes its place (Song et
    al. 2012, JMLR 13:1393). Not a number where a side does not vary.
    """
    unbiased = len(x) < max(x.shape[1], y.shape[1])
    x, y = (np.asarray(side, np.float64) - np.mean(side, axis=0, dtype=np.float64) for side in (x, y))
    kernels = [side @ side.T for side in (x, y)]
    if unbiased:
        for kernel in kernels:
            np.fill_diagonal(kernel, 0)
    texts = np.arange(len(x)) if texts is None else texts
    # One column a statistic: which examples are in.
    chosen = np.concatenate([np.ones((len(x), 1)), texts[:, None] != np.arange(texts.max() + 1)], axis=1).astype(float)
    rows = [kernel @ chosen for kernel in kernels]
    own, other, both = (_hsic(kernels, rows, chosen, pair, unbiased) for pair in ((0, 0), (1, 1), (0, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / np.sqrt(own * other)


def _hsic(kernels, rows, chosen, pair: tuple[int, int], unbiased: bool) -> np.ndarray:
    """HSIC of two kernels, up to a factor that cancels in CKA, for every choice of examples."""
    (k, l), (k_rows, l_rows) = ((each[pair[0]], each[pair[1]]) for each in (kernels, rows))
    count = chosen.sum(0)
    trace = (((k * l) @ chosen) * chosen).sum(0)
    sums = (k_rows * chosen).sum(0) * (l_rows * chosen).sum(0)
    crossed = (k_rows * l_rows * chosen).sum(0)
    if unbiased:
        return trace + sums / ((count - 1) * (count - 2)) - 2 * crossed / (count - 2)
    return trace + sums / count**2 - 2 * crossed / count


def estimate(statistic: np.ndarray) -> dict[str, float | int]:
    """Value, 95 % interval (delete-one-text jackknife, Student's t) and number of texts, as columns of a row."""
    value, without = float(statistic[0]), statistic[1:]
    count = len(without)
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    half = float(error * stats.t.ppf((1 + LEVEL) / 2, count - 1))
    return {"value": value, "low": value - half, "high": value + half, "n": count}
