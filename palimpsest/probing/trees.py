"""The structural probe (Hewitt & Manning 2019): does a linear map of a sentence's states hold its dependency tree?

A matrix B (rank × width) is fitted so that ‖B(h_i − h_j)‖² is the number of edges between words i and j in the tree:

    min_B  Σ_sentences 1/n² Σ_ij | d(i, j) − ‖B(h_i − h_j)‖² |

Two metrics, as in the paper: `uuas`, the share of the tree's edges that the minimum spanning tree of the predicted
distances has, without punctuation; `spearman`, the rank correlation of a word's predicted and true distances to all
words, averaged over the words of all sentences of one length, then over the lengths 5 to 50. Beside the probe stands
the tree in which each word hangs on its neighbour, under `scoring: chain`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from palimpsest.probing.outcome import Outcome
from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest.settings import Probe

LENGTHS = range(5, 51)  # of sentences whose distances are correlated
TRAINING_SENTENCES = 10  # at least
STEPS, EPOCHS, WORDS_A_BATCH, RATE, SEED = 800, 10, 512, 0.003, 0  # so many steps and epochs at least
SPLITS = ("train", "validation", "test")


def extract(model, tokenizer, rows: Sequence[Mapping[str, Any]], options: Probe) -> dict[str, Tensor]:
    """`words` (layers + 1, words of all rows in order, width)."""
    from palimpsest.probing.word_states import word_states

    for row in rows:
        if problem := problem_of_heads(row["heads"]):
            raise PalimpsestError(f"{row['id']}: {problem}")
    return {"words": word_states(model, tokenizer, rows)}


def outcomes(
    features: Mapping[str, np.ndarray], rows: Sequence[Mapping[str, Any]], options: Probe
) -> Iterator[Outcome]:
    """The chain, at layer 0, and the probe at each layer."""
    words = features["words"]
    gold = [distances(row["heads"]) for row in rows]
    split = {
        name: [n for n, row in enumerate(rows) if row["split"] == name] for name in ("train", "validation", "test")
    }
    if len(split["train"]) < TRAINING_SENTENCES or not split["test"]:
        raise PalimpsestError(
            f"structural probe: {len(split['train'])} sentences to train on and {len(split['test'])} to test on; it "
            f"needs {TRAINING_SENTENCES} and 1 at least."
        )
    tested = [rows[number] for number in split["test"]]
    truth = [gold[number] for number in split["test"]]
    chain = [np.abs(np.subtract.outer(np.arange(len(each)), np.arange(len(each)))) for each in truth]
    yield from scored(chain, truth, tested, "chain", 0)
    ends = np.cumsum([len(row["words"]) for row in rows])
    for layer in options.layers if options.layers is not None else range(len(words)):
        states = np.split(words[layer].astype(np.float32), ends[:-1])
        parts = {name: ([states[n] for n in numbers], [gold[n] for n in numbers]) for name, numbers in split.items()}
        projection = fit(*parts["train"], rank=options.rank, validation=parts["validation"])
        predicted = [squared_distances(each @ projection) for each in parts["test"][0]]
        yield from scored(predicted, truth, tested, "structural", layer)


def problem_of_heads(heads: Sequence[int | None]) -> str | None:
    """What keeps heads (1-based, 0 for the root) from being a tree, and what would be right; None if they are one."""
    for number, head in enumerate(heads, 1):
        if head is None or not 0 <= head <= len(heads):
            return f"the head of word {number} is {head}; it must be 0 (the root) to {len(heads)}."
    roots = [number for number, head in enumerate(heads, 1) if head == 0]
    if len(roots) != 1:
        named = f" (words {', '.join(map(str, roots))})" if roots else ""
        return f"{len(roots)} roots{named}; a tree has one word whose head is 0."
    for number in range(1, len(heads) + 1):
        seen, word = set(), number
        while word and word not in seen:
            seen.add(word)
            word = heads[word - 1]
        if word:
            return f"word {word} is, by its heads, above itself: a cycle. In a tree all heads lead to the root."
    return None


def distances(heads: Sequence[int]) -> np.ndarray:
    """(words, words): the number of edges between two words of a tree."""
    from scipy.sparse.csgraph import shortest_path

    return shortest_path(_edges(heads), directed=False, unweighted=True)


def squared_distances(points: np.ndarray) -> np.ndarray:
    """(words, words): the squared distances of the rows of (words, dimensions)."""
    squares = (points**2).sum(1)
    return squares[:, None] + squares - 2 * points @ points.T


def fit(
    states: Sequence[np.ndarray],
    gold: Sequence[np.ndarray],
    rank: int,
    validation: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] = ((), ()),
) -> np.ndarray:
    """B transposed (width, rank), from sentences (words, width) and their distances (words, words).

    Adam, the same result for the same sentences; the best of its epochs on `validation`, if there are any.
    """
    import torch

    width = states[0].shape[1]
    rank = min(rank, width)
    # Standardized dimensions are better conditioned, and B can undo the scale; a shift cancels in the difference.
    scale = np.concatenate(states).std(0) + 1e-6
    batches, held_out = (
        _batches([each / scale for each in sentences], truth) for sentences, truth in ((states, gold), validation)
    )
    generator = torch.Generator().manual_seed(SEED)
    projection = torch.randn(width, rank, generator=generator).div_((width * rank) ** 0.5).requires_grad_()
    optimizer = torch.optim.Adam([projection], lr=RATE)
    epochs = max(EPOCHS, -(-STEPS // len(batches)))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=epochs * len(batches))
    best, least = projection.detach().clone(), float("inf")
    for _ in range(epochs):
        for number in torch.randperm(len(batches), generator=generator):
            loss = _loss(projection, *batches[number]) / len(batches[number][0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            now = float(sum(_loss(projection, *batch) for batch in held_out))
        if now <= least:  # without validation every epoch is as good, and the last is kept
            best, least = projection.detach().clone(), now
    return best.numpy() / scale[:, None]


def scored(
    predicted: Sequence[np.ndarray],
    gold: Sequence[np.ndarray],
    rows: Sequence[Mapping[str, Any]],
    scoring: str,
    layer: int,
) -> Iterator[Outcome]:
    """`uuas`, a row an edge of a tree, and `spearman`, a row a length."""
    names, clusters, found = [], [], []
    for distance, row in zip(predicted, rows, strict=True):
        edges = tree_edges(row)
        own = spanning_edges(distance, ~punctuation(row))
        names += [f"{row['id']}/{dependent + 1}" for dependent, _ in edges]
        clusters += [row["id"]] * len(edges)
        found += [frozenset(edge) in own for edge in edges]
    values = np.array(found, dtype=np.float32)
    yield Outcome("all", scoring, layer, "uuas", np.array(names, dtype=str), np.array(clusters, dtype=str), values)
    by_length: dict[int, list[float]] = {}
    for distance, truth in zip(predicted, gold, strict=True):
        if len(truth) in LENGTHS:
            by_length.setdefault(len(truth), []).append(float(row_correlations(distance, truth).mean()))
    lengths = np.array([f"{length} words" for length in sorted(by_length)], dtype=str)
    means = np.array([np.mean(by_length[length]) for length in sorted(by_length)], dtype=np.float32)
    yield Outcome("all", scoring, layer, "spearman", lengths, lengths, means)


def tree_edges(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(word, head), both from 0, of the edges between words that are no punctuation."""
    left_out = punctuation(row)
    edges = [(number, head - 1) for number, head in enumerate(row["heads"]) if head]
    return [edge for edge in edges if not left_out[list(edge)].any()]


def spanning_edges(distance: np.ndarray, kept: np.ndarray) -> set[frozenset[int]]:
    """The edges of the minimum spanning tree of the words that are kept."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    numbers = np.flatnonzero(kept)
    some = distance[np.ix_(numbers, numbers)]
    if len(numbers) < 2:
        return set()
    # scipy takes 0 for no edge; a constant on all edges leaves the tree as it is.
    found = minimum_spanning_tree(some - some.min() + 1.0).tocoo()
    return {frozenset((int(numbers[i]), int(numbers[j]))) for i, j in zip(found.row, found.col, strict=True)}


def row_correlations(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of one matrix with that of another; 0 where a row is constant."""
    from scipy.stats import rankdata

    a, b = (rankdata(each, axis=1) for each in (one, two))
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    size = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return np.divide((a * b).sum(1), size, out=np.zeros(len(a)), where=size > 0)


def punctuation(row: Mapping[str, Any]) -> np.ndarray:
    """Which words are punctuation: what the row says, else those of punctuation marks alone."""
    marks = row.get("punctuation")
    if marks is None:
        marks = [all(unicodedata.category(letter)[0] == "P" for letter in word) for word in row["words"]]
    return np.array(marks, dtype=bool)


def _edges(heads: Sequence[int]) -> np.ndarray:
    matrix = np.zeros((len(heads), len(heads)))
    for number, head in enumerate(heads):
        if head:
            matrix[number, head - 1] = 1
    return matrix


def _batches(states: Sequence[np.ndarray], gold: Sequence[np.ndarray]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(sentences, words, width), their distances, and weights 1/n² where there are words; of like lengths."""
    import torch

    order = sorted(range(len(states)), key=lambda number: len(states[number]))
    batches, some = [], []
    for place, number in enumerate(order):
        some.append(number)
        after = order[place + 1] if place + 1 < len(order) else None
        if after is not None and (len(some) + 1) * len(states[after]) <= WORDS_A_BATCH:
            continue
        longest = len(states[some[-1]])
        points = torch.zeros(len(some), longest, states[0].shape[1])
        truth, weights = torch.zeros(2, len(some), longest, longest)
        for row, sentence in enumerate(some):
            length = len(states[sentence])
            points[row, :length] = torch.from_numpy(states[sentence])
            truth[row, :length, :length] = torch.from_numpy(gold[sentence])
            weights[row, :length, :length] = 1 / length**2
        batches.append((points, truth, weights))
        some = []
    return batches


def _loss(projection: Tensor, points: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    mapped = points @ projection
    squares = (mapped**2).sum(-1)
    predicted = squares[:, :, None] + squares[:, None] - 2 * mapped @ mapped.transpose(1, 2)
    return ((predicted - truth).abs() * weights).sum()
