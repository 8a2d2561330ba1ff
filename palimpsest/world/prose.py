"""Prose without facts: a small grammar with agreement, tense, recursion, coordination, negation and hypernyms.

It names no person and states nothing that could be learned by heart, so a model's perplexity on it shows the
language that it has kept and not the facts.
"""

from __future__ import annotations

import random

ANIMALS = """
    dog cat horse cow goat sheep fox wolf bear mouse rabbit duck goose hen owl crow frog bee ant otter lamb calf
    crane heron badger swan
""".split()
PLANTS = "rose tulip oak pine fern moss lily birch maple willow cedar daisy poppy thistle".split()
TOOLS = "hammer saw spade rake knife needle bucket ladder rope wheel shovel chisel lantern basket".split()
HUMANS = """
    teacher child doctor guard neighbour cousin stranger painter judge dancer hunter singer poet king queen
    knight pupil baron monk
""".split()
HYPERNYMS = {**dict.fromkeys(ANIMALS, "animal"), **dict.fromkeys(PLANTS, "plant"), **dict.fromkeys(TOOLS, "tool")}
IRREGULAR_PLURALS = {
    "sheep": "sheep",
    "mouse": "mice",
    "goose": "geese",
    "wolf": "wolves",
    "knife": "knives",
    "child": "children",
}
ADJECTIVES = """
    small big old young quiet happy tired clever lazy brave gentle hungry slow quick proud cold warm wet careful
    noisy silent pale round strange
""".split()
PLACES = "garden forest river field market barn bridge castle meadow harbour valley cellar tower orchard".split()
# base, third person singular, past
TRANSITIVE = [
    ("see", "sees", "saw"),
    ("follow", "follows", "followed"),
    ("help", "helps", "helped"),
    ("watch", "watches", "watched"),
    ("find", "finds", "found"),
    ("chase", "chases", "chased"),
    ("admire", "admires", "admired"),
    ("fear", "fears", "feared"),
    ("carry", "carries", "carried"),
    ("love", "loves", "loved"),
    ("forget", "forgets", "forgot"),
    ("touch", "touches", "touched"),
]
INTRANSITIVE = [
    ("sleep", "sleeps", "slept"),
    ("run", "runs", "ran"),
    ("sing", "sings", "sang"),
    ("wait", "waits", "waited"),
    ("laugh", "laughs", "laughed"),
    ("fall", "falls", "fell"),
    ("swim", "swims", "swam"),
    ("rest", "rests", "rested"),
]
CLAUSE_VERBS = [
    ("think", "thinks", "thought"),
    ("hope", "hopes", "hoped"),
    ("say", "says", "said"),
    ("know", "knows", "knew"),
]
TIMES = {"present": ["today", "often", "now"], "past": ["yesterday", "once"]}
PREPOSITIONS = "near behind under beside inside".split()


def plural(noun: str) -> str:
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


class Grammar:
    """Draws sentences; `rng` decides everything."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def pick(self, options: list):
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def noun_phrase(self, animate: bool = True, depth: int = 0) -> tuple[str, bool]:
        """A noun phrase and whether it is plural."""
        noun = self.pick(ANIMALS + HUMANS if animate else PLANTS + TOOLS)
        many = self.chance(0.4)
        determiner = self.pick(["the", "these", "some", "many", "two"] if many else ["the", "this", "one", "every"])
        words = [determiner]
        if self.chance(0.35):
            words.append(self.pick(ADJECTIVES))
        words.append(plural(noun) if many else noun)
        if depth < 2 and self.chance(0.2):
            words += [self.pick(PREPOSITIONS), "the", self.pick(PLACES)]
        elif depth < 2 and self.chance(0.15):
            words += ["that", self.verb_phrase(many, self.pick(["present", "past"]), depth + 1)]
        return " ".join(words), many

    def verb(self, forms: tuple[str, str, str], many: bool, tense: str, negated: bool) -> str:
        base, singular, past = forms
        if negated:
            return f"{'did' if tense == 'past' else 'do' if many else 'does'} not {base}"
        return past if tense == "past" else base if many else singular

    def verb_phrase(self, many: bool, tense: str, depth: int) -> str:
        negated = self.chance(0.15)
        if self.chance(0.45):
            return self.verb(self.pick(INTRANSITIVE), many, tense, negated)
        target, _ = self.noun_phrase(animate=self.chance(0.7), depth=depth + 1)
        return f"{self.verb(self.pick(TRANSITIVE), many, tense, negated)} {target}"

    def clause(self, depth: int = 0) -> str:
        tense = self.pick(["present", "past"])
        subject, many = self.noun_phrase(depth=depth)
        if depth < 2 and self.chance(0.12):
            return f"{subject} {self.verb(self.pick(CLAUSE_VERBS), many, tense, False)} that {self.clause(depth + 1)}"
        words = [subject, self.verb_phrase(many, tense, depth)]
        if self.chance(0.3):
            words.append(self.pick(TIMES[tense]))
        return " ".join(words)

    def definition(self) -> str:
        noun, other = self.pick(list(HYPERNYMS)), self.pick(list(HYPERNYMS))
        if self.chance(0.5) or HYPERNYMS[noun] == HYPERNYMS[other]:
            return f"every {noun} is {'an' if HYPERNYMS[noun] == 'animal' else 'a'} {HYPERNYMS[noun]}"
        return f"no {noun} is {'an' if HYPERNYMS[other] == 'animal' else 'a'} {HYPERNYMS[other]}"

    def sentence(self) -> str:
        if self.chance(0.1):
            return self.definition() + " ."
        if self.chance(0.15):
            return f"{self.clause(1)} {self.pick(['and', 'but', 'while'])} {self.clause(1)} ."
        return self.clause() + " ."

    def paragraph(self, words: int) -> str:
        """Sentences of together at most `words` tokens (at least one sentence)."""
        text = self.sentence()
        while len(text.split()) < words * 0.8:
            candidate = f"{text} {self.sentence()}"
            if len(candidate.split()) > words:
                break
            text = candidate
        return text


def vocabulary() -> set[str]:
    """Every word that the grammar can say."""
    nouns = ANIMALS + PLANTS + TOOLS + HUMANS
    words = set(nouns) | {plural(noun) for noun in nouns} | set(HYPERNYMS.values())
    words |= set(ADJECTIVES) | set(PLACES) | set(PREPOSITIONS)
    words |= {form for verb in TRANSITIVE + INTRANSITIVE + CLAUSE_VERBS for form in verb}
    words |= {time for times in TIMES.values() for time in times}
    words |= set("the these some many two this one every that did do does not is an a no and but while .".split())
    return words
