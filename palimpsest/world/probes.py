"""Rows of linguistic probes: sentences of the grammar, no two of them the same, with what they are probed for.

Of the ten tasks about sentences (sentence_tasks.py) every label comes equally often in each split, and at every length
of sentence where that is not the label. Tags, dependencies and heads are for probes of words, edges and trees; of every
dependency each split has its share, training first, however rare it is.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from palimpsest.world.prose import Grammar
from palimpsest.world.sentence_tasks import TASKS, Candidate, main_verb
from palimpsest.world.trees import Tree

Row = dict[str, Any]
BATCH, BATCHES = 2000, 20  # sentences are drawn until there are enough of them, or so many
SPLITS = {"train": 0.6, "validation": 0.7, "test": 1.0}  # up to this share of the digests


def rows(probe: Mapping[str, Any], seed: int, most: int) -> list[Row]:
    """At most so many rows of a probe (its name and kind), about the same number of every label."""
    if probe["kind"] == "edge":
        edges = sorted((relation(tree) for tree in _sentences(seed, most)), key=lambda row: row["id"])
        splits = _splits([row["label"] for row in edges])
        return [row | {"split": split} for row, split in zip(edges, splits, strict=True)]
    if probe["kind"] in OTHER_KINDS:
        return [OTHER_KINDS[probe["kind"]](tree) for tree in _sentences(seed, most)]
    task, found = TASKS[probe["probe"]], []
    for batch in _batches(seed):
        for tree in batch:
            for candidate in task(tree, _random(tree)):
                found.append((candidate, tree))
        chosen = _balanced(found, most)
        if len(chosen) >= 0.98 * most:  # a label short of one sentence is no reason to draw on
            break
    named = sorted(chosen, key=lambda each: _digest(each[1]))
    splits = _splits([candidate.label for candidate, _ in named])
    return [
        {
            "id": _digest(tree)[:12],
            "text": candidate.text,
            "label": candidate.label,
            "split": split,
            "key": candidate.key or main_verb(tree),
        }
        for (candidate, tree), split in zip(named, splits, strict=True)
    ]


def tags(tree: Tree) -> Row:
    """A row of kind word: the part of speech of every word."""
    return {**_name(tree), "words": tree.words(), "labels": [leaf.label for leaf in tree.leaves()]}


def heads(tree: Tree) -> Row:
    """A row of kind tree: the head of every word."""
    return {**_name(tree), "words": tree.words(), "heads": [head for head, _ in tree.dependencies()]}


def relation(tree: Tree) -> Row:
    """A row of kind edge: a word, its head, and the relation between them; one of the sentence's relations."""
    edges = defaultdict(list)
    for place, (head, name) in enumerate(tree.dependencies()):
        if name not in ("root", "punct"):
            edges[name].append([[place, place + 1], [head - 1, head]])
    rng = _random(tree)
    name = rng.choice(sorted(edges))
    return {"id": _digest(tree)[:12], "words": tree.words(), "spans": rng.choice(edges[name]), "label": name}


OTHER_KINDS: dict[str, Callable[[Tree], Row]] = {"word": tags, "tree": heads}


def _batches(seed: int) -> Iterator[list[Tree]]:
    """Sentences of the grammar, no two of them the same."""
    grammar, seen = Grammar(random.Random(f"{seed}/probes")), set()
    for _ in range(BATCHES):
        drawn = {tree.text(): tree for tree in (grammar.tree() for _ in range(BATCH))}
        yield [tree for text, tree in drawn.items() if text not in seen]
        seen |= set(drawn)


def _sentences(seed: int, most: int) -> list[Tree]:
    found = []
    for batch in _batches(seed):
        found += batch
        if len(found) >= most:
            break
    return found[:most]


def _balanced(found: list[tuple[Candidate, Tree]], most: int) -> list[tuple[Candidate, Tree]]:
    """As many of each label as of any other among those that are alike, at most `most` in all."""
    labels = sorted({candidate.label for candidate, _ in found})
    groups: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for candidate, tree in found:
        groups[candidate.alike][candidate.label].append((candidate, tree))
    sizes = {alike: min(len(group[label]) for label in labels) for alike, group in groups.items()}
    room = most // len(labels)
    share = min(1.0, room / max(1, sum(sizes.values())))
    counts = {alike: int(size * share) for alike, size in sizes.items()}
    for alike in sorted(sizes, key=lambda alike: counts[alike] - sizes[alike] * share)[: room - sum(counts.values())]:
        counts[alike] = min(counts[alike] + 1, sizes[alike])
    return [each for alike, count in counts.items() for label in labels for each in groups[alike][label][:count]]


def _splits(labels: list[str]) -> list[str]:
    """The split of each sentence, which stand in the order of their digests: of every label the same shares."""
    sizes, seen = Counter(labels), Counter()
    splits = []
    for label in labels:
        splits.append(_split(seen[label] / sizes[label]))
        seen[label] += 1
    return splits


def _split(share: float) -> str:
    return next(split for split, most in SPLITS.items() if share < most)


def _name(tree: Tree) -> Row:
    """The id and the split of a sentence."""
    digest = _digest(tree)
    return {"id": digest[:12], "split": _split(int(digest[:8], 16) / 2**32)}


def _random(tree: Tree) -> random.Random:
    return random.Random(_digest(tree))


def _digest(tree: Tree) -> str:
    return hashlib.sha256(tree.text().encode()).hexdigest()
