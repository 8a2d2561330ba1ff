"""What a study found, in sentences: computed from its tables, left out where the study has no data for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from palimpsest.analysis.classification import CLASSES
from palimpsest.grid import Cell
from palimpsest.presentation import arms_of, quantities
from palimpsest.presentation.data import Number, Quantity, Tables
from palimpsest.presentation.level_names import family, level_title, severity
from palimpsest.presentation.names import base_label, sweeps

PERPLEXITY, POINTS = 0.05, 0.05  # "perplexity within 5 %, at least 5 points lost"
MOST_LISTED = 6  # in a sentence; an even number
# Figures of which the numbers of questions say nothing.
UNCOUNTED = ("time", "probes", "regimes", "heads", "unsaid", "probe_rate", "probe_selectivity", "probe_layers",
             "probe_heads", "probe_nli", "cka", "logit_lens", "spectra", "sensitivity")  # fmt: skip


def percent(number: Number, decimals: int = 1) -> str:
    """`74.2 % [71.9, 76.3]`"""
    value, low, high = (f"{100 * end:.{decimals}f}" for end in (number.value, number.low, number.high))
    return f"{value} % [{low}, {high}]".replace("-", "−")


def points(number: Number) -> str:
    """`+2.1 points [−0.3, +4.5]`, of a difference of shares"""
    value, low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in (number.value, number.low, number.high))
    return f"{value} points [{low}, {high}]"


def named(tables: Tables, cell: Cell, recovery: str = "none") -> str:
    """A cell in words: `gptq 3 bit`, with its model where there are several and its seed where it is not 0."""
    words = f"{cell.label} {level_title(cell.level)}" if not cell.is_dense else "dense"
    words = f"{cell.model} {words}" if len(tables.models) > 1 or cell.is_dense else words
    words += f" s{cell.seed}" if cell.seed else ""
    return f"{words} + {recovery}" if recovery != "none" else words


def few(items: Iterable[str]) -> str:
    """A list in words; of a long one the first and the last."""
    listed = list(items)
    if len(listed) > MOST_LISTED:
        middle = len(listed) - MOST_LISTED
        half = MOST_LISTED // 2
        listed = [*listed[:half], f"… {middle} more …", *listed[-half:]]
    return ", ".join(listed)


def lost(tables: Tables) -> list[str]:
    """The dense model's accuracy, then at each family's harshest level every method's, best first."""
    sentences = []
    for model in tables.models:
        asked = [quantity for quantity in quantities.accuracies(tables) if _answers(tables, model, quantity)]
        if not asked:
            continue
        headline, numbers = asked[0], tables.numbers(asked[0])
        sentences.append(f"{model}, dense: {headline.title} {percent(numbers[tables.dense(model)])}.")
        cells = [cell for cell in tables.cells if cell.model == model and not cell.is_dense]
        for name in dict.fromkeys(family(cell) for cell in cells):
            hardest = min((cell for cell in cells if family(cell) == name), key=lambda cell: numbers[cell].value).level
            at = sorted(
                (cell for cell in cells if cell.level == hardest), key=lambda cell: (-numbers[cell].value, cell.label)
            )
            several = any(cell.seed for cell in at)
            results = few(f"{cell.label}{f' s{cell.seed}' * several} {percent(numbers[cell])}" for cell in at)
            sentences.append(f"{name[:1].upper()}{name[1:]} at {level_title(hardest)}: {results}.")
    return sentences


def _answers(tables: Tables, model: str, quantity: Quantity) -> bool:
    return any(cell.model == model for cell in tables.answering(quantity.task))


def size(tables: Tables) -> list[str]:
    """Small dense against large compressed: which cells take at most a control's bytes and know more."""
    if not (tables.has(quantities.BITS) and tables.models):
        return []
    bits, bytes_total = tables.numbers(quantities.BITS), tables.measured("bytes_total")
    sentences = []
    for small in (cell for cell in bits if cell.is_dense and cell.model not in tables.models):
        others = [cell for cell in bits if not cell.is_dense]
        within = [cell for cell in others if bytes_total[cell].value <= bytes_total[small].value]
        better = [cell for cell in within if bits[cell].low > bits[small].high]
        dense = f"{small.model} (dense, {bytes_total[small].value / 1e6:.2f} MB) knows {bits[small].value:,.0f} bits"
        if not within:
            smallest = min(others, key=lambda cell: bytes_total[cell].value)
            sentences.append(
                f"{dense}; no cell is as small: the smallest, {named(tables, smallest)}, takes "
                f"{bytes_total[smallest].value / 1e6:.2f} MB and knows {bits[smallest].value:,.0f} bits."
            )
        else:
            which = ", ".join(named(tables, cell) for cell in better) or "none"
            sentences.append(f"{dense}; cells that take no more bytes and know more, intervals apart: {which}.")
    return sentences


def hidden(tables: Tables) -> list[str]:
    """How many cells keep perplexity within 5 % and lose at least 5 points, for each text without known facts."""
    if not tables.has(quantities.CLOSED_BOOK_CHANGE):
        return []
    cells = [cell for cell in tables.answering(quantities.CLOSED_BOOK.task) if not cell.is_dense]
    change = tables.numbers(quantities.CLOSED_BOOK_CHANGE, cells)
    sentences = []
    for kind in quantities.perplexities(tables, "relative_perplexity", quantities.WITHOUT_KNOWN_FACTS):
        ratio = tables.numbers(kind, cells)
        found = [cell for cell in cells if ratio[cell].value <= 1 + PERPLEXITY and change[cell].value <= -POINTS]
        found.sort(key=lambda cell: change[cell].value)
        each = []
        for cell in found:
            growth, points = _signed(100 * (ratio[cell].value - 1)), _signed(100 * change[cell].value)
            each.append(f"{named(tables, cell)} ({growth} %, {points} points)")
        sentences.append(
            f"On {kind.title}, {len(found)} of {len(cells)} cells keep perplexity within 5 % and lose at least 5 "
            f"points of closed-book accuracy{': ' + few(each) if each else ''}."
        )
    return sentences


def calibrated(tables: Tables) -> list[str]:
    """At each method's harshest level the calibrations that kept most and least; then leakage and content."""
    from palimpsest.presentation.tables.calibration import contrasts

    swept = sweeps(tables.calibrations)
    if not swept or not tables.has(quantities.SEED_MEAN):
        return []
    by_cell: dict[tuple[str, str, str], dict[str, Cell]] = {}
    for cell, name in tables.calibrations.items():
        if (base := base_label(cell.label, name)) in swept:
            by_cell.setdefault((cell.model, base, cell.level), {}).setdefault(name, cell)
    kept = tables.where_it_stands(quantities.SEED_MEAN)
    hardest = {(model, base): level for model, base, level in sorted(by_cell, key=lambda key: severity(key[2]))}
    sentences = []
    for (model, base), level in hardest.items():
        found = sorted(by_cell[model, base, level].items(), key=lambda pair: -kept[pair[1]].value)
        (best, first), (worst, last) = found[0], found[-1]
        sentences.append(
            f"{f'{model} ' * (len(tables.models) > 1)}{base} {level_title(level)} keeps most closed-book knowledge "
            f"calibrated on {best}, {percent(kept[first])}, and least on {worst}, {percent(kept[last])}."
        )
    found = contrasts(tables)
    if found:
        clear = [number for number, _ in found.values() if number.low > 0 or number.high < 0]
        values = sorted(100 * number.value for number, _ in found.values())
        sentences.append(
            f"Leakage: calibration on biographies is worth {_signed(values[0])} to {_signed(values[-1])} points more "
            f"to the people whom they speak of than to the others; the interval leaves zero out in {len(clear)} of "
            f"{len(found)} methods and levels."
        )
    for other in dict.fromkeys(name for _, content in found.values() for name in content):
        numbers = [content[other] for _, content in found.values() if other in content]
        more, less = sum(number.low > 0 for number in numbers), sum(number.high < 0 for number in numbers)
        sentences.append(
            f"Content: calibration on biographies of other people keeps more than on {other} in {more} of "
            f"{len(numbers)} methods and levels, less in {less} (intervals without zero)."
        )
    return sentences


def judged(tables: Tables) -> list[str]:
    """For each judged task how far the judge agrees with GPT-4, and with itself when the order is turned."""
    sentences = []
    for task in quantities.judge_tasks(tables):
        title, asked = quantities.title_of(task), Quantity("κ", task, "judge_kappa", scoring="judge")
        kappa = tables.where_it_stands(replace(asked, may_lack_verdict=True))[tables.cells[0]]
        agree = tables.where_it_stands(replace(asked, metric="judge_consistency"))
        words = (
            f"κ with GPT-4 is {kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}] on {kappa.n} stored judgements"
            if kappa.n
            else "no stored judgements of GPT-4's are at hand, so nothing says whether it can be believed"
        )
        if agree:
            shares = sorted(number.value for number in agree.values())
            words += f"; in {percent_range(shares)} of the pairs it prefers the same answer in both orders"
        sentences.append(f"{title}: {words}.")
    return sentences


def percent_range(shares: list[float]) -> str:
    """`12 to 40 %` of sorted shares."""
    ends = dict.fromkeys(f"{100 * share:.0f}" for share in (shares[0], shares[-1]))
    return f"{' to '.join(ends)} %"


def leaked(tables: Tables) -> list[str]:
    """A warning for each text that says a task's questions with their answers, or a sentence that none does."""
    if not len(tables.leaks):
        return []
    sentences = [
        f"Warning: the text of {row.use} {row.text} has {row.contained:,} of the {row.rows:,} rows of "
        f"{quantities.title_of(row.task)} in it ({100 * row.contained_share:.1f} %), questions with their answers, "
        f"e.g. {row.worst.split('; ')[0]}."
        for row in tables.leaks[tables.leaks["contained"] > 0].itertuples()
    ]
    return sentences or ["No text has a question with its answer in it, nor a text that is evaluated."]


def headline(tables: Tables) -> list[str]:
    """The few sentences that an abstract has room for."""
    from palimpsest.presentation.found_displaced import came_back
    from palimpsest.presentation.found_probing import still_held

    return (
        [sentence.split(": ")[0].rstrip(".") + "." for sentence in hidden(tables)]
        + came_back(tables)[:1]
        + still_held(tables)[:1]
    )


def counts(tables: Tables, figure: str) -> str:
    """`n` of the tasks that a figure shows, for its caption: questions or documents."""
    shown = {
        "knowledge_bits": ("closed_book_mc",),
        "recovery": ("closed_book",),
        "displaced": tuple(arms_of.SCORED),
        "displaced_frequency": tuple(arms_of.SCORED)[:1],
        "prompt_length": ("closed_book", "perplexity"),
        "choices": ("closed_book",),
        "cost": ("closed_book",),
        "latency": ("closed_book",),
        "knowledge_vs_perplexity": ("closed_book", "perplexity"),
        "nli_rate": tuple(CLASSES),
        "accuracy_cost": tuple(quantity.task for quantity, _ in quantities.classified(tables)[:1]),
        "selective": tuple(quantity.task for quantity in quantities.accuracies(tables)[:1]),
    }
    metrics = tables.metrics
    wanted = ["acc", "exact_match"] + ["perplexity"] * (
        figure in ("language", "knowledge_vs_perplexity", "prompt_length")
    )
    rows = metrics[(metrics["subset"] == "all") & metrics["metric"].isin(wanted)]
    parts = []
    for task, group in rows.groupby("task", sort=True):
        if task not in shown.get(figure, (task,)):
            continue
        what = "documents" if (group["metric"] == "perplexity").any() else "questions"
        sizes = sorted(set(group["n"].astype(int)))
        many = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        parts.append(f"{many} {what} ({quantities.title_of(task)})")
    return f"n = {', '.join(parts)}." if parts and figure not in UNCOUNTED else ""


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def spent(tables: Tables) -> list[str]:
    """The CPU time of all jobs, and the share of imports."""
    if not tables.times:
        return []
    total = tables.times[-1]
    longest = max(tables.times[:-1], key=lambda stage: stage.cpu_seconds)
    return [
        f"{total.jobs} jobs took {total.cpu_seconds:,.0f} CPU seconds, {100 * total.import_share:.0f} % of them for "
        f"starting Python and importing; the longest stage was {longest.stage} with {longest.cpu_seconds:,.0f} s."
    ]
