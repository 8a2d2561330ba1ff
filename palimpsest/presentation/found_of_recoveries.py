"""What a study found of the cost of recoveries and of what they do inside the model, in sentences."""

from __future__ import annotations

from palimpsest.measurement.rounds import MERGED, PHASES, PLAIN
from palimpsest.presentation import quantities
from palimpsest.presentation.data import Number, Tables
from palimpsest.presentation.figures.regimes import compared, task_of
from palimpsest.presentation.recovery_costs import Pair, longest, pairs, slower
from palimpsest.presentation.summary import named, points

PUBLISHED_FEWER, PUBLISHED_SLOWER = 21, 2.5  # times fewer parameters; 60 % less latency is a ratio of 2.5
WORDS = {"attention_js": "attention (Jensen-Shannon, bits)", "attention_cosine": "attention (cosine)",
         "activation_cosine": "activations (cosine)", "activation_cka": "activations (linear CKA)"}  # fmt: skip


def parameters(tables: Tables) -> list[str]:
    """For each cell and adapter of weights the smallest prompt that is as accurate; then the claim of 21 times."""
    if not _is_measured(tables):
        return []
    found = pairs(tables)
    sentences = []
    if found:
        sentences.append(
            "As accurate as an adapter of weights is a prompt that is shown to lose less than 5 points of closed-book "
            "accuracy against it, and less than half of what it gains over the cell alone, about people of whom no "
            "text speaks."
        )
    for cell in dict.fromkeys(pair.cell for pair in found):
        mine = [pair for pair in found if pair.cell == cell and pair.fewer > 1]
        parts = [
            _against(name, [pair for pair in mine if pair.weights == name])
            for name in dict.fromkeys(pair.weights for pair in mine)
        ]
        if parts:
            sentences.append(f"{named(tables, cell)}, adapters and smaller prompts: {'; '.join(parts)}.")
    if found:
        found = [pair for pair in found if pair.helps]
        wide = [pair for pair in found if pair.fewer >= PUBLISHED_FEWER]
        equal = [pair for pair in wide if pair.as_accurate]
        largest = max((pair.fewer for pair in found), default=0)
        sentences.append(
            f"{PUBLISHED_FEWER} times fewer parameters at equal accuracy: {len(wide)} of {len(found)} pairs of an "
            f"adapter that helps and a prompt differ by so much (the most is {largest:.1f} times)"
            + (f", and in {len(equal)} of them the prompt is as accurate." if wide else ".")
        )
    return sentences


def seconds(tables: Tables) -> list[str]:
    """How much slower adapters of weights are than prompts, beside the weights and merged; then the claim of 60 %."""
    if not _is_measured(tables) or not (found := pairs(tables)):
        return []
    sentences = []
    for way, words in ((PLAIN, "Beside the weights"), (MERGED, "Merged into them")):
        for phase, what in zip(PHASES, ("to read the input", "for each new token"), strict=True):
            ratio = {pair: slower(tables, pair, phase, longest(tables, pair.cell), way) for pair in found}
            low, high = (pick(ratio, key=lambda pair: ratio[pair].value) for pick in (min, max))
            enough = [pair for pair in found if ratio[pair].low >= PUBLISHED_SLOWER]
            maybe = [pair for pair in found if ratio[pair].high >= PUBLISHED_SLOWER]
            sentences.append(
                f"{words}, an adapter takes {_times(low, ratio)} to {_times(high, ratio)} as long as a prompt {what}; "
                f"60 % less latency ({PUBLISHED_SLOWER} times) is reached in every round by {len(enough)} of "
                f"{len(found)} pairs, in some round by {len(maybe)}."
            )
    return sentences


def moved(tables: Tables) -> list[str]:
    """Which recoveries move attention and activations towards the dense model's, away from them, or not clearly."""
    if not (tables.folder / "similarity.parquet").exists() or not compared(tables):
        return []
    task = task_of(tables)
    sentences = [f"On the texts of {quantities.title_of(task)}, mean over blocks, against the cell alone:"]
    for cell, recoveries in compared(tables).items():
        for measure in ("attention_js", "activation_cka"):
            found = {
                recovery: tables.similar(task, f"{measure}_towards_dense", cell, recovery)["all", "all"]
                for recovery in recoveries
            }
            parts = []
            for way, chosen in (
                ("towards the dense model", lambda number: number.low > 0),
                ("away from it", lambda number: number.high < 0),
                ("neither clearly", lambda number: number.low <= 0 <= number.high),
            ):
                names = [f"{name} {_signed(number)}" for name, number in found.items() if chosen(number)]
                if names:
                    parts.append(f"{way}: {', '.join(names)}")
            if parts:
                sentences.append(f"{named(tables, cell)}, {WORDS[measure]}: {'; '.join(parts)}.")
    return sentences


def regimes(tables: Tables) -> str:
    """The same in one sentence a measure, for a caption: in how many cells each recovery moves it, and which way."""
    task, sentences = task_of(tables), []
    for measure, what in (("attention_js", "Attention"), ("activation_cka", "Activations")):
        counts: dict[str, list[int]] = {}
        for cell, recoveries in compared(tables).items():
            for recovery in recoveries:
                number = tables.similar(task, f"{measure}_towards_dense", cell, recovery)["all", "all"]
                count = counts.setdefault(recovery, [0, 0, 0])
                for place, is_so in enumerate((number.low > 0, number.high < 0, True)):
                    count[place] += is_so
        words = [f"{name} {towards} and {away} of {n}" for name, (towards, away, n) in sorted(counts.items())]
        sentences.append(
            f"{what}, mean over blocks: number of cells in which it moves towards the dense model's, and away from it, "
            f"intervals without zero: {', '.join(words)}."
        )
    return f"Texts of {quantities.title_of(task)}. {' '.join(sentences)}"


def _is_measured(tables: Tables) -> bool:
    return bool(tables.recoveries) and (tables.folder / "latency.parquet").exists() and bool(tables.models)


def _against(weights: str, mine: list[Pair]) -> str:
    """What becomes of the prompts that are smaller than one adapter of weights."""
    title = f"{weights} ({mine[0].parameters[0]:,.0f} parameters)"
    if not mine[0].helps:
        return f"{title} is not shown to help"
    if equal := [pair for pair in mine if pair.as_accurate]:
        best = max(equal, key=lambda pair: pair.fewer)
        return f"{title}: {best.prompt} is as accurate with {best.fewer:.1f} times fewer, {points(best.difference)}"
    nearest = max(mine, key=lambda pair: pair.difference.low)
    return f"{title}: none is shown to be as accurate, nearest {nearest.prompt}, {points(nearest.difference)}"


def _times(pair: Pair, ratio: dict[Pair, Number]) -> str:
    found = ratio[pair]
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] ({pair.weights} over {pair.prompt})"


def _signed(number: Number) -> str:
    value, low, high = (f"{end:+.3f}".replace("-", "−") for end in (number.value, number.low, number.high))
    return f"{value} [{low}, {high}]"
