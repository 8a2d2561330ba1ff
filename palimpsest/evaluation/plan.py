"""What is computed once for several rows of tokens, and which rows run together.

A row is a tuple of tokens with the first position whose prediction is wanted. Rows that start alike (a subject's
questions after the same examples, the options of a question, the questions on a passage) share a prefix, prefixes
share prefixes, and so the rows are the leaves of a tree. Everything here depends on the set of rows alone, never on
their order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

MIN_SHARED = 4  # sharing fewer tokens, or saving a smaller share of them, costs a pass more than it saves
MIN_SAVED = 1 / 6
A_PASS = 48  # tokens that cost as much as a pass does by itself
MOST_ROWS = 4096  # of a batch
NO_LIMIT = 2**62
ALL = -1  # of a model's soft prompts: the only one, or the mean of what all of them predict


@dataclass(frozen=True, order=True)
class Row:
    """Input tokens, the first position whose prediction is wanted (every later one is too), and the number of the soft
    prompt that stands before them, for models that have several."""

    tokens: tuple[int, ...]
    first: int
    prompt: int = ALL


@dataclass(frozen=True)
class Node:
    """Tokens `start` to `end` of a row, or of the several rows beneath `children`, which have them in common."""

    row: Row
    start: int
    end: int
    children: tuple[Node, ...] = ()
    first: int = 0  # position within `start` to `end` whose prediction is wanted first; `end` if none is

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.row.tokens[self.start : self.end]

    def rows(self) -> Iterator[Row]:
        if not self.children:
            yield self.row
        for child in self.children:
            yield from child.rows()


@dataclass
class _Prefix:
    """A node of the tree of everything that rows have in common; `below` is how many tokens that leaves to compute."""

    row: Row
    depth: int
    first: int  # of any row
    children: list[_Prefix] = field(default_factory=list)
    below: int = 0

    def add(self, child: _Prefix) -> None:
        self.children.append(child)
        self.first = min(self.first, child.first)
        self.below += child.depth - self.depth + child.below


def alone(rows: Iterable[Row]) -> list[tuple[int, Node]]:
    """Distinct rows that share nothing, for `cut`."""
    return [(0, Node(row, 0, len(row.tokens), first=row.first)) for row in set(rows)]


def tree(rows: Iterable[Row]) -> list[Node]:
    """The tree of distinct rows, with those of their common prefixes that save a good part of the tokens.

    All rows have the same soft prompt before them.
    """
    ordered = sorted(rows)
    if not ordered:
        return []
    common = [_common(one, two) for one, two in itertools.pairwise(ordered)]
    open_ = [_Prefix(ordered[0], 0, ordered[0].first)]
    for row, depth in zip(ordered, [*common, 0], strict=True):  # as a tree of suffixes is built from sorted ones
        closed = _Prefix(row, len(row.tokens), row.first)
        while open_[-1].depth > depth:
            open_[-1].add(closed)
            closed = open_.pop()
        if open_[-1].depth < depth:
            open_.append(_Prefix(row, depth, row.first))
        open_[-1].add(closed)
    return _worth(open_[0].children, 0)


def _worth(prefixes: Iterable[_Prefix], start: int) -> list[Node]:
    """Nodes from `start` on: a prefix that saves too little is left out, and its children stand in its place."""
    nodes, waiting = [], list(prefixes)
    while waiting:
        prefix = waiting.pop()
        length, times = prefix.depth - start, len(prefix.children)
        saves = (times - 1) * length >= MIN_SAVED * (times * length + prefix.below)
        if times and not (saves and length >= MIN_SHARED):
            waiting += prefix.children
            continue
        first = min(max(prefix.first, start), prefix.depth)
        nodes.append(Node(prefix.row, start, prefix.depth, tuple(_worth(prefix.children, prefix.depth)), first))
    return nodes


def _common(one: Row, two: Row) -> int:
    """Tokens in common; each row keeps one at least for itself."""
    most = min(len(one.tokens), len(two.tokens)) - 1
    a, b = one.tokens[:most], two.tokens[:most]
    if a == b:
        return most
    return next(position for position, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)


def cut(
    nodes: Sequence[tuple[int, Node]], *, tokens: int, keys: int = NO_LIMIT, before: int = 0, rows: int | None = None
) -> Iterator[list[tuple[int, Node]]]:
    """Cut (its prefix's number, node) into batches, longest first.

    A batch has at most so many `rows`, `tokens` to compute and `keys` to keep or look at (padding counts, and `before`
    positions that stand before every row), or one row.
    """
    ordered = sorted(nodes, key=lambda each: (each[1].start - each[1].end, each[1].row))
    lengths = np.array([node.end - node.start for _, node in ordered])
    depths = np.array([before + node.end for _, node in ordered])
    start = 0
    for stop in _ends(lengths, depths, tokens=tokens, keys=keys, rows=rows or NO_LIMIT):
        yield ordered[start:stop]
        start = stop


def _ends(
    lengths: Int[np.ndarray, " nodes"], depths: Int[np.ndarray, " nodes"], *, tokens: int, keys: int, rows: int
) -> list[int]:
    """Where the batches of nodes end, which come longest first: those that cost least of all that fit.

    A batch costs its tokens with the padding, and as much as A_PASS tokens; where tokens are not limited, only that.
    """
    least, starts = np.zeros(len(lengths) + 1), np.zeros(len(lengths) + 1, dtype=int)
    for stop in range(1, len(lengths) + 1):
        first = max(0, stop - min(rows, MOST_ROWS))
        sizes, longest = stop - np.arange(first, stop), lengths[first:stop]
        deepest = np.maximum.accumulate(depths[first:stop][::-1])[::-1]
        fits = (sizes * longest <= tokens) & (sizes * deepest <= keys) | (sizes == 1)
        padded = sizes * longest if tokens < NO_LIMIT else 0
        costs = np.where(fits, least[first:stop] + padded + A_PASS, np.inf)
        starts[stop] = first + int(costs.argmin())
        least[stop] = costs.min()
    ends, stop = [], len(lengths)
    while stop:
        ends.append(stop)
        stop = int(starts[stop])
    return ends[::-1]
