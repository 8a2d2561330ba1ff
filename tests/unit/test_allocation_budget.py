"""Levels of single matrices cost together what is asked, to a step and never more, and mean what they say."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from itertools import pairwise, product

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palimpsest import compress_weight
from palimpsest.compression.allocation.budget import Budget, Matrix, shortest
from palimpsest.compression.allocation.curves import least_error
from palimpsest.compression.allocation.methods.sensitivity import search
from palimpsest.compression.selection import share_of
from palimpsest.levels import KeptShare, RankShare, Sparsity, parse, rank_for
from palimpsest.provenance import PalimpsestError

LEVELS = [
    "0.5",
    "0.6",
    "0.37",
    "0.0",
    "2:4",
    "1:3",
    "3",
    "4g128",
    "8",
    "k0.8",
    "k0.35",
    "k1.0",
    "r0.3",
    "0.5+4",
    "2:4+3",
]


def matrices(shapes):
    return [Matrix(f"m{number}", number // 2, "q_proj", *shape) for number, shape in enumerate(shapes)]


def budget_of(shapes, level):
    try:
        return Budget(matrices(shapes), parse(level))
    except PalimpsestError as error:  # so few columns or ranks that not even the hardest level is hard enough
        assert "shared out" in str(error) or "saves no parameters" in str(error)
        assume(False)


shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(shapes=shapes, level=st.sampled_from(LEVELS), data=st.data())
def test_what_is_allocated_costs_what_is_asked_to_a_step_and_never_more(shapes, level, data):
    budget = budget_of(shapes, level)
    wanted = {name: data.draw(st.floats(0, 1)) for name in budget.matrices}
    steps = budget.from_shares(wanted)
    left = budget.asked - budget.cost(steps)
    assert left >= 0
    for name, step in steps.items():
        costs = budget.ladders[name].costs
        assert step == len(costs) - 1 or costs[step + 1] - costs[step] > left


@settings(max_examples=150, deadline=None)
@given(shape=st.tuples(st.integers(1, 300), st.integers(1, 300)), level=st.sampled_from(LEVELS), data=st.data())
def test_a_level_of_a_ladder_is_read_back_as_what_it_costs(shape, level, data):
    rows, columns = shape
    budget = budget_of([shape], level)
    ladder = budget.ladders["m0"]
    step = data.draw(st.integers(0, len(ladder.costs) - 1))
    cost, found = ladder.costs[step], ladder.level(step)
    if found is None:
        assert step == len(ladder.costs) - 1 and cost == rows * columns
        return
    again = parse(found.text)
    assert again == found and again.text == found.text and parse(level).syntax == found.syntax
    pruning = getattr(again, "pruning", again)
    if isinstance(pruning, Sparsity):  # whether a method compares within rows or within the matrix
        dropped = share_of(columns, pruning.fraction)
        assert cost == rows * (columns - dropped) and share_of(rows * columns, pruning.fraction) == rows * dropped
    elif isinstance(again, KeptShare | RankShare):
        assert cost == rank_for(rows, columns, again) * (rows + columns)


@pytest.mark.parametrize(
    ("method", "level"), [("magnitude", "0.4"), ("magnitude", "1:3"), ("svd", "k0.7"), ("rtn", "3")]
)
def test_methods_achieve_what_the_budget_counts(method, level):
    shapes = [(24, 30), (7, 31), (40, 12)]
    budget = Budget(matrices(shapes), parse(level))
    levels = budget.levels(steps := budget.from_shares({"m0": 0.9, "m1": 0.5, "m2": 0.1}))
    cost = 0
    for name, matrix in budget.matrices.items():
        weight = torch.randn(matrix.rows, matrix.columns, generator=torch.Generator().manual_seed(0))
        if name not in levels:
            cost += matrix.weights
            continue
        achieved = compress_weight(weight, None, method, levels[name].text).achieved()
        share = {"magnitude": 1 - achieved.get("sparsity", 0), "svd": achieved.get("kept_share")}
        cost += share.get(method, achieved.get("bits")) * matrix.weights
    assert cost == pytest.approx(budget.cost(steps), abs=1e-6) and cost <= budget.asked + 1e-6


@settings(max_examples=200, deadline=None)
@given(low=st.fractions(0, 1, max_denominator=5000), width=st.fractions(Fraction(1, 10**8), Fraction(1, 2)))
def test_the_shortest_decimal_lies_where_it_must_and_none_is_shorter(low, width):
    found = shortest(low, low + width)
    assert low <= Fraction(str(found)) < low + width
    digits = len(format(found, ".17f").rstrip("0").partition(".")[2]) if Fraction(str(found)) != int(found) else 1
    if 1 < digits <= 8:
        assert math.ceil(low * 10 ** (digits - 1)) >= (low + width) * 10 ** (digits - 1)


def test_a_level_that_nothing_can_meet_is_an_error_that_says_so():
    for shapes, level, message in [
        ([(8, 8)], "0.95", "hardest level that every matrix can have costs 0.125 a weight, and 0.04688 is asked"),
        ([(8, 8)], "k0.1", "hardest level"),
        ([(8, 8)], "r0.9", "saves no parameters"),
        ([(8, 8)], "nf4", "Use the allocation uniform, or only or laser with budget: chosen"),
    ]:
        with pytest.raises(PalimpsestError, match=message):
            Budget(matrices(shapes), parse(level))


def test_shares_out_of_reach_are_shifted_and_infinite_ones_stay_at_the_top():
    budget = Budget(matrices([(16, 64)] * 3), parse("0.5"))
    steps = budget.from_shares({"m0": math.inf, "m1": 0.1, "m2": 0.4})
    assert "m0" not in budget.levels(steps)
    kept = [budget.ladders[name].costs[steps[name]] / 1024 for name in ("m1", "m2")]
    assert kept == pytest.approx([0.1, 0.4], abs=1 / 64)  # 1 + 0.1 + 0.4 is what 0.5 leaves
    with pytest.raises(PalimpsestError, match="least that is allowed"):
        budget.from_shares({"m0": math.inf, "m1": math.inf, "m2": 0.1})


@settings(max_examples=150, deadline=None)
@given(shapes=shapes, level=st.sampled_from(LEVELS), data=st.data())
def test_one_by_one_meets_the_budget_to_a_step_and_only_the_last_is_in_between(shapes, level, data):
    budget = budget_of(shapes, level)
    order = data.draw(st.permutations(list(budget.matrices)))
    hard = {name: data.draw(st.integers(0, len(budget.ladders[name].costs) // 2)) for name in order}
    try:
        steps = budget.one_by_one(hard)
    except PalimpsestError as error:
        assert budget.cost(budget.highest() | hard) > budget.asked and f"{level} cannot be met so" in str(error)
        if lowest := re.search("that can be met so is (.+)\\.$", str(error)):
            again = Budget(budget.matrices.values(), parse(lowest[1]))
            assert again.cost(again.highest() | hard) <= again.asked, "the level that the message names can be met"
        return
    top = budget.highest()
    lowered = [name for name in order if steps[name] < top[name]]
    # A matrix whose own step is the mildest, or that was raised by what was left over, is not among those lowered.
    assert all(hard[name] == top[name] or steps[name] > hard[name] for name in order[: len(lowered)] if name not in
               lowered)  # fmt: skip
    left = budget.asked - budget.cost(steps)
    rises = [budget.ladders[name].costs[steps[name] + 1] - budget.ladders[name].costs[steps[name]] for name in lowered]
    assert left >= 0 and all(rise > left for rise in rises)


# Choosing by error curves


def every(budget):
    """All ways to choose a step for each matrix."""
    names = list(budget.matrices)
    for steps in product(*(range(len(budget.ladders[name].costs)) for name in names)):
        yield dict(zip(names, steps, strict=True))


def convex(draws, count):
    """A random curve that falls and flattens, down to 0."""
    falls = sorted((draws.random() for _ in range(count - 1)), reverse=True)
    return [sum(falls[step:]) for step in range(count)]


def total(curves, steps):
    return sum(curves[name][step] for name, step in steps.items())


@settings(max_examples=40, deadline=None)
@given(draws=st.randoms(use_true_random=False), level=st.sampled_from(["2:4", "1:4", "3:4", "4", "3"]))
def test_least_error_is_the_best_of_all_choices_where_every_step_costs_the_same(draws, level):
    budget = Budget(matrices([(4, 8)] * 3), parse(level))
    curves = {name: convex(draws, len(ladder.costs)) for name, ladder in budget.ladders.items()}
    best = min(total(curves, steps) for steps in every(budget) if budget.cost(steps) <= budget.asked)
    steps, threshold = least_error(curves, budget)
    assert budget.cost(steps) <= budget.asked
    assert total(curves, steps) == pytest.approx(best) and threshold >= 0


@settings(max_examples=40, deadline=None)
@given(draws=st.randoms(use_true_random=False), level=st.sampled_from(["2:4", "4", "k0.8", "0.5"]))
def test_least_error_is_within_one_step_of_the_best_of_all_choices(draws, level):
    budget = Budget(matrices([(3, 8), (6, 4), (5, 4)]), parse(level))
    curves = {name: convex(draws, len(ladder.costs)) for name, ladder in budget.ladders.items()}
    steps, _ = least_error(curves, budget)
    # What does not fit any more is less than a jump along a hull: the last step of ranks costs less than the others, so
    # that a hull may pass one step.
    ladders = [ladder.costs for ladder in budget.ladders.values()]
    jump = 2 * max(above - below for costs in ladders for below, above in pairwise(costs))
    fewer = [total(curves, other) for other in every(budget) if budget.cost(other) <= budget.asked - jump]
    assert budget.cost(steps) <= budget.asked
    assert all(total(curves, steps) <= error + 1e-9 for error in fewer)


@settings(max_examples=60, deadline=None)
@given(draws=st.randoms(use_true_random=False), level=st.sampled_from(["0.5", "k0.6", "3", "2:4"]))
def test_the_search_of_asvd_takes_the_lowest_threshold_that_the_budget_allows(draws, level):
    budget = Budget(matrices([(12, 20), (8, 24), (16, 10)]), parse(level))
    entries = [
        (name, step, draws.random())
        for name, ladder in budget.ladders.items()
        for step in range(0, len(ladder.costs), 2)
        if ladder.level(step) is not None
    ]

    def under(threshold):
        steps = {name: len(ladder.costs) - 1 for name, ladder in budget.ladders.items()}
        for name, step, loss in entries:
            if loss <= threshold:
                steps[name] = min(steps[name], step)
        return steps

    fitting = [t for t in sorted(loss for *_, loss in entries) if budget.cost(under(t)) <= budget.asked]
    published, found = under(fitting[0]), search(entries, budget)
    left = budget.asked - budget.cost(found)
    assert left >= 0 and all(found[name] >= step for name, step in published.items())
    for name, step in found.items():
        costs = budget.ladders[name].costs
        assert step == len(costs) - 1 or costs[step + 1] - costs[step] > left


def test_the_search_says_so_if_its_ladder_does_not_reach_low_enough():
    budget = Budget(matrices([(12, 20)]), parse("0.8"))
    with pytest.raises(PalimpsestError, match="give smaller shares"):
        search([("m0", 10, 1.0)], budget)
