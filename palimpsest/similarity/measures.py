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


def linear_cka(
    x: np.ndarray, y: np.ndarray, texts: np.ndarray | None = None, unbiased: bool | None = None
) -> np.ndarray:
    """Linear CKA (Kornblith et al. 2019, arXiv:1905.00414) as a statistic, (texts + 1,).

    x, y: (examples, features) of each model. texts: (examples,), the number of each example's text from 0 on; each is a
        text of its own if left out.
    unbiased: the unbiased HSIC (Song et al. 2012, JMLR 13:1393) in the plain one's place, which is too large where
        examples are few beside features; if left out, where there are fewer of them.

    Not a number where a side does not vary.
    """
    if unbiased is None:
        unbiased = len(x) < max(x.shape[1], y.shape[1])
    return linear_cka_map(x[None], y[None], texts, unbiased)[0, 0]


def linear_cka_map(x: np.ndarray, y: np.ndarray, texts: np.ndarray | None = None, unbiased: bool = True) -> np.ndarray:
    """Linear CKA of every layer of one model with every layer of another, (layers of x, layers of y, texts + 1).

    x, y: (layers, examples, features) of the same examples; texts as in `linear_cka`.
    """
    texts = np.arange(x.shape[1]) if texts is None else texts
    rows, columns = ([_Kernel(layer, texts, unbiased) for layer in side] for side in (x, y))
    own, other = (np.array([_hsic(kernel, kernel) for kernel in side]) for side in (rows, columns))
    both = np.array([[_hsic(k, l) for l in columns] for k in rows])
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / np.sqrt(own[:, None] * other[None])


class _Kernel:
    """The likeness of all pairs of examples, (examples, examples), and its sums of rows with each text left out."""

    def __init__(self, features: np.ndarray, texts: np.ndarray, unbiased: bool) -> None:
        features = np.asarray(features, np.float64)
        features = features - features.mean(0)
        self.values, self.unbiased = features @ features.T, unbiased
        if unbiased:
            np.fill_diagonal(self.values, 0)
        self.of_text = (texts[:, None] == np.arange(texts.max() + 1)).astype(float)
        # One column a statistic: which examples are in.
        self.chosen = np.concatenate([np.ones((len(features), 1)), 1 - self.of_text], axis=1)
        self.sums = self.values @ self.chosen


def _hsic(k: _Kernel, l: _Kernel) -> np.ndarray:
    """HSIC of two kernels, up to a factor that cancels in CKA, on all texts and with each left out."""
    chosen, of_text = k.chosen, k.of_text
    count = chosen.sum(0)
    products = k.values * l.values
    # What a text leaves out of the sum over all pairs: its rows and columns, of which its own pairs were counted twice.
    by_text = products @ of_text
    left_out = 2 * by_text.sum(0) - (of_text * by_text).sum(0)
    trace = products.sum() - np.concatenate([[0], left_out])
    sums = (k.sums * chosen).sum(0) * (l.sums * chosen).sum(0)
    crossed = (k.sums * l.sums * chosen).sum(0)
    if k.unbiased:
        return trace + sums / ((count - 1) * (count - 2)) - 2 * crossed / (count - 2)
    return trace + sums / count**2 - 2 * crossed / count


def estimate(statistic: np.ndarray) -> dict[str, float | int]:
    """Value, 95 % interval (delete-one-text jackknife, Student's t) and number of texts, as columns of a row."""
    value, without = float(statistic[0]), statistic[1:]
    count = len(without)
    error = np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    half = float(error * stats.t.ppf((1 + LEVEL) / 2, count - 1))
    return {"value": value, "low": value - half, "high": value + half, "n": count}
