"""How hard a cell is compressed: the grammar of levels. Plain Python, no torch.

    sparsity     0.5            half of the weights are zero
    n:m          2:4            2 kept of every 4 neighbours (in paths 2-4)
    bits         4  4g128       4-bit integers, one scale a row or one for every 128 weights
    format       nf4 int8 w8a8  a number format with its own rules
    joint        0.5+4g128      pruned, and what is kept is quantized
    kept share   k0.8           two factors with 0.8 of the matrix's parameters
    rank share   r0.1           two factors whose rank is 0.1 of the largest one (LASER's ρ)
    full         full           the dense control

A level is always a string; `parse` also takes what an unquoted one becomes in YAML (0.5, 4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor

from palimpsest.provenance import PalimpsestError

BITS = range(2, 9)
FORMATS = ("nf4", "int8", "w8a8")

# syntax -> examples; the first is the one that messages paste
EXAMPLES = {
    "sparsity": ("0.5", "0.6"),
    "n:m": ("2:4", "4:8"),
    "bits": ("4", "3", "4g128"),
    "format": FORMATS,
    "kept share": ("k0.8", "k0.6"),
    "rank share": ("r0.1", "r0.5"),
    "joint": ("0.5+4g128", "2:4+4"),
    "full": ("full",),
}


class LevelError(PalimpsestError):
    """Not a level; `meant` is a level that was probably meant."""

    def __init__(self, message: str, meant: str | None = None) -> None:
        super().__init__(message)
        self.meant = meant


@dataclass(frozen=True)
class Level:
    """What every level has: `text` (canonical), `path` (the same, safe in file names) and `syntax`."""

    syntax = ""

    @property
    def text(self) -> str:
        raise NotImplementedError

    @property
    def path(self) -> str:
        return self.text.replace(":", "-")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Sparsity(Level):
    """The share of weights that are zero."""

    fraction: float
    syntax = "sparsity"

    @property
    def text(self) -> str:
        return _canonical(self.fraction)


@dataclass(frozen=True)
class NofM(Level):
    """`keep` of every `group` neighbouring weights of a row are kept."""

    keep: int
    group: int
    syntax = "n:m"

    @property
    def text(self) -> str:
        return f"{self.keep}:{self.group}"

    @property
    def fraction(self) -> float:
        """The sparsity that follows."""
        return 1 - self.keep / self.group


@dataclass(frozen=True)
class Bits(Level):
    """Integers of `bits` bits; one scale for every `group` weights of a row, or one a row (None)."""

    bits: int
    group: int | None = None
    syntax = "bits"

    @property
    def text(self) -> str:
        return f"{self.bits}" if self.group is None else f"{self.bits}g{self.group}"


@dataclass(frozen=True)
class Format(Level):
    """A number format by name."""

    name: str
    syntax = "format"

    @property
    def text(self) -> str:
        return self.name


@dataclass(frozen=True)
class KeptShare(Level):
    """The share of a matrix's parameters that its two factors have."""

    share: float
    syntax = "kept share"

    @property
    def text(self) -> str:
        return f"k{_canonical(self.share)}"


@dataclass(frozen=True)
class RankShare(Level):
    """The share of the largest rank that a matrix can have, which its two factors have."""

    share: float
    syntax = "rank share"

    @property
    def text(self) -> str:
        return f"r{_canonical(self.share)}"


@dataclass(frozen=True)
class Joint(Level):
    """Pruned, and the kept weights quantized."""

    pruning: Sparsity | NofM
    quantization: Bits
    syntax = "joint"

    @property
    def text(self) -> str:
        return f"{self.pruning.text}+{self.quantization.text}"


@dataclass(frozen=True)
class Full(Level):
    """Nothing is compressed: the level of the dense control."""

    syntax = "full"

    @property
    def text(self) -> str:
        return "full"


_SHARES = {
    "k": (KeptShare, "k0.8 keeps 0.8 of a matrix's parameters"),
    "r": (RankShare, "r0.1 keeps 0.1 of a matrix's largest rank"),
}


def parse(value: str | int | float) -> Level:
    """The level that `value` stands for. Raises LevelError (a PalimpsestError) that says what would be right."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise LevelError(f"{value!r} is not a level. {grammar()}")
    if isinstance(value, int) and value >= 60:
        raise _sexagesimal(value)
    text = str(value).strip()
    if text == "full":
        return Full()
    if text in FORMATS:
        return Format(text)
    if "+" in text:
        return _joint(text)
    if (match := re.fullmatch(r"([kr])(.+)", text)) and (share := _number(match[2])) is not None:
        kind, says = _SHARES[match[1]]
        if not 0 < share <= 1:
            meant = f"{match[1]}{_canonical(float(share / 100))}" if 2 <= share <= 100 else None
            raise LevelError(f"{kind.syntax} {text} is not in (0, 1]: {says}.", meant)
        return kind(float(share))
    if match := re.fullmatch(r"([0-9]+)g([0-9]+)", text):
        return _bits(text, int(match[1]), int(match[2]))
    if match := re.fullmatch(r"([0-9]+):([0-9]+)", text):
        return _n_of_m(text, int(match[1]), int(match[2]))
    if re.fullmatch(r"[1-9][0-9]*", text):
        return _bits(text, int(text))
    if (fraction := _number(text)) is not None:
        if not 0 <= fraction < 1:
            meant = _canonical(float(fraction / 100)) if 1 < fraction < 100 and fraction == int(fraction) else None
            raise LevelError(f"sparsity {text} is not in [0, 1).", meant)
        return Sparsity(float(fraction))
    raise LevelError(f"{text!r} is not a level. {grammar()}", _probably(text))


def from_path(path: str) -> Level:
    """The level whose `.path` this is (`2-4` -> 2:4)."""
    return parse(re.sub(r"^([0-9]+)-([0-9]+)", r"\1:\2", path))


def grammar() -> str:
    """One sentence that lists every syntax with an example."""
    kinds = [f"{syntax} {examples[0]}" for syntax, examples in EXAMPLES.items() if syntax != "full"]
    return f"Levels are {', '.join(kinds[:-1])} and {kinds[-1]}."


def rank_for(out_features: int, in_features: int, level: KeptShare | RankShare) -> int | None:
    """The rank of two factors at a level, at least 1; None where the matrix is left as it is (share 1).

    Kept share: floor(share · out · in / (out + in)). Rank share: floor(share · min(out, in)).
    """
    if level.share == 1:
        return None
    # Exact arithmetic: in floats 0.7 * 90 * 120 / 210 is 35.99999999999999.
    share, product = Fraction(str(level.share)), out_features * in_features
    whole = (
        product / Fraction(out_features + in_features)
        if isinstance(level, KeptShare)
        else min(out_features, in_features)
    )
    return max(1, floor(share * whole))


def _n_of_m(text: str, keep: int, group: int) -> NofM:
    if not 0 < keep < group:
        meant = f"{group}:{keep}" if 0 < group < keep else None
        raise LevelError(f"{text}: N:M keeps N of every M weights, so N is at least 1 and less than M.", meant)
    return NofM(keep, group)


def _bits(text: str, bits: int, group: int | None = None) -> Bits:
    if bits not in BITS:
        meant = _canonical(bits / 100) if group is None and 8 < bits < 100 else None
        percent = f" A sparsity of {text} % is written {meant}." if meant else ""
        raise LevelError(f"bits {text} is not in {BITS[0]} to {BITS[-1]}.{percent}", meant)
    if group is not None and group < 2:
        raise LevelError(f"{text}: a group has at least 2 weights.", f"{bits}g128")
    return Bits(bits, group)


def _joint(text: str) -> Joint:
    parts = [parse(part) for part in text.split("+")]
    if len(parts) != 2 or not isinstance(parts[0], Sparsity | NofM) or not isinstance(parts[1], Bits):
        raise LevelError(f"{text!r}: a joint level is a sparsity or N:M, then +, then bits.", EXAMPLES["joint"][0])
    pruning, grid = parts
    if isinstance(pruning, NofM) and grid.group and grid.group % pruning.group:
        whole = Bits(grid.bits, -(-grid.group // pruning.group) * pruning.group)
        raise LevelError(
            f"{text}: groups of {grid.group} weights cut the {pruning.group} of {pruning.text} apart.",
            Joint(pruning, whole).text,
        )
    return Joint(pruning, grid)


def _sexagesimal(value: int) -> LevelError:
    n, m = divmod(value, 60)
    meant = f"{min(n, m)}:{max(n, m)}" if m and m != n else None
    # 1:2 to 1:32 are used; 1:10 is not, and 70 is a sparsity in percent.
    share = _canonical(value / 100) if value < 100 and m.bit_count() != 1 else None
    percent = f" (A sparsity of {value} % is written {share}.)" if share else ""
    return LevelError(
        f"{value} is not a level. YAML reads an unquoted {n}:{m} as the number {n} * 60 + {m} = {value}: "
        f'for N:M, quote it: "{meant or EXAMPLES["n:m"][0]}".{percent}',
        share or meant,
    )


def _number(text: str) -> Decimal | None:
    return Decimal(text) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text) else None


def _canonical(number: float) -> str:
    text = format(Decimal(repr(float(number))).normalize(), "f")
    return text if "." in text else f"{text}.0"


def _probably(text: str) -> str | None:
    """A level that someone who wrote `text` may have meant."""
    guesses = (
        (r"([0-9]+)-([0-9]+)", r"\1:\2"),  # the form in paths
        (r"(?i)w?([0-9])[ -]?bits?|w([0-9])|int([0-7])", r"\1\2\3"),
        (r"([0-9])[-_ ]?[gG]([0-9]+)", r"\1g\2"),
        (r"([1-9][0-9]?) ?%", r"0.\1"),
        (r"[kK] ?([0-9.]+)", r"k\1"),
        (r"[rR] ?([0-9.]+)", r"r\1"),
    )
    for pattern, replacement in guesses:
        if match := re.fullmatch(pattern, text):
            if replacement == r"0.\1":
                return _canonical(int(match[1]) / 100)
            try:
                return parse(match.expand(replacement)).text
            except LevelError:
                return None
    return text.lower() if text.lower() in (*FORMATS, "full") else None
