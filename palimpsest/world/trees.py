"""Sentences with their analysis: phrases of words with tags, and in every phrase one part that is its head.

Phrases are named as in CoNLL-2000 (flat clauses: `S` → `NP VP NP ADVP .`, where `VP` are the verbs alone), tags as in
the Penn Treebank, relations as in Universal Dependencies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HEAD = "head"


@dataclass(frozen=True)
class Tree:
    """A phrase (`label`, `parts`) or a word (`label` is its tag).

    `relation` is how it hangs on the head of the phrase that it is a part of, or `HEAD` if it is that head.
    """

    label: str
    parts: tuple[Tree, ...] = ()
    word: str = ""
    lemma: str = ""
    relation: str = HEAD

    def hung(self, relation: str) -> Tree:
        """The same, with this relation to the head of its phrase."""
        return Tree(self.label, self.parts, self.word, self.lemma, relation)

    def leaves(self) -> Iterator[Tree]:
        """The words in their order."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def words(self) -> list[str]:
        return [leaf.word for leaf in self.leaves()]

    def text(self) -> str:
        return " ".join(self.words())

    def part(self, *relations: str) -> Tree | None:
        """The first part with one of these relations to this phrase's head."""
        return next((part for part in self.parts if part.relation in relations), None)

    def head(self) -> Tree:
        """The word that all others of the phrase hang on, directly or not."""
        return self.part(HEAD).head() if self.parts else self

    def depth(self) -> int:
        """Steps from the root to the deepest word."""
        return 1 + max(part.depth() for part in self.parts) if self.parts else 0

    def dependencies(self) -> list[tuple[int, str]]:
        """Each word's head, 1-based, and its relation to it; (0, "root") of the root."""
        found: dict[int, tuple[int, str]] = {}
        root, _ = self._attach(0, found)
        found[root] = (0, "root")
        return [found[place] for place in sorted(found)]

    def _attach(self, before: int, found: dict[int, tuple[int, str]]) -> tuple[int, int]:
        """Hang the words of all parts; the place of the head, and how many words there are up to here."""
        if not self.parts:
            return before + 1, before + 1
        heads = []
        for part in self.parts:
            head, before = part._attach(before, found)
            heads.append((head, part.relation))
        (own,) = (head for head, relation in heads if relation == HEAD)
        found.update({head: (own, relation) for head, relation in heads if relation != HEAD})
        return own, before


def word(tag: str, text: str, relation: str = HEAD, lemma: str = "") -> Tree:
    return Tree(tag, word=text, lemma=lemma or text, relation=relation)


def phrase(label: str, *parts: Tree | None) -> Tree:
    """A phrase of those parts that there are."""
    return Tree(label, tuple(part for part in parts if part is not None))
