"""Pruning methods against plain float64 implementations of their papers, against each other, and at any pattern."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
import reference_cases
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest import compress_weight
from palimpsest.compression.weights import CompressedWeight
from palimpsest.provenance import PalimpsestError

MASKS_ONLY = [
    ("magnitude", {}),
    ("wanda", {}),
    ("wanda", {"cumulative": True}),
    ("dsnot", {}),
    ("dsnot", {"initial": "magnitude"}),
]
METHODS = [*MASKS_ONLY, ("sparsegpt", {}), ("alps", {})]
BY_ROW = ("wanda", "dsnot")
SPARSITIES = ["0.3", "0.5", "0.7", "0.9"]
PATTERNS = ["2:4", "4:8", "1:3"]


@pytest.fixture(scope="module")
def layer():
    """W (16, 96) and X (400, 96): correlated inputs whose means are not zero."""
    draws = torch.Generator().manual_seed(5)
    mixing = torch.randn(96, 96, generator=draws) / 9 + torch.eye(96)
    inputs = torch.randn(400, 96, generator=draws) @ mixing + torch.randn(96, generator=draws)
    return torch.randn(16, 96, generator=draws) * 0.1, inputs


@pytest.fixture(scope="module")
def case():
    return reference_cases.c256()


def error(w, x, compressed):
    """‖X(W′ - W)ᵀ‖² / ‖XWᵀ‖²."""
    w, x = w.double(), x.double()
    return ((x @ (compressed.dense().double() - w).T).norm() ** 2 / (x @ w.T).norm() ** 2).item()


def lowest(score, count):
    """True at the `count` lowest entries of a vector; of equal ones at the first."""
    mask = torch.zeros(len(score), dtype=torch.bool)
    mask[score.sort(stable=True).indices[:count]] = True
    return mask


def dropped_by(score, level):
    """What a comparison within the layer drops (N:M: within the whole groups of a row)."""
    if ":" not in level:
        return lowest(score.flatten(), int(Fraction(level) * score.numel())).view_as(score)
    keep, group = map(int, level.split(":"))
    return torch.cat([lowest(part, group - keep) for part in score.flatten().split(group)]).view_as(score)


def plain_cumulative_wanda(w, x, sparsity):
    """The mask of the authors' bisection: α in [0, 0.8] until the layer's sparsity is within 1e-3."""
    score = w.double().abs() * x.double().norm(dim=0)
    ascending = score.sort(dim=1).values
    low, high, alpha = 0.0, 0.8, 0.4
    for _ in range(60):
        counts = (ascending.cumsum(1) <= alpha * score.sum(1, keepdim=True)).sum(1)
        mask = torch.stack([lowest(row, count) for row, count in zip(score, counts, strict=True)])
        if abs(mask.double().mean() - sparsity) <= 1e-3:
            return mask
        low, high = (low, alpha) if mask.double().mean() > sparsity else (alpha, high)
        alpha = (low + high) / 2
    raise AssertionError("the bisection did not end")


def plain_dsnot(w, x, level, initial="wanda", cycles=50, threshold=0.1):
    """The mask of kept weights after swapping row by row, cycle by cycle; the tokens of X are one calibration row."""
    w, x = w.double(), x.double()
    group = int(level.split(":")[1]) if ":" in level else w.shape[1]
    wanda = w.abs() * x.norm(dim=0)
    score = wanda if initial == "wanda" else w.abs()
    kept = ~torch.stack([dropped_by(row[None], level)[0] for row in score])
    means, variances = x.mean(0), x.var(0, correction=0)
    for row, mask in zip(range(len(w)), kept, strict=True):
        pull = w[row] * means * len(x)
        e = -pull[~mask].sum()
        sign = e.sign()
        for _ in range(cycles):
            best = None
            for j in range(w.shape[1]):  # the dropped weight that reduces |e| most for its variance, with a partner
                gain = -sign * w[row, j] * means[j] / variances[j]
                start = j - j % group
                partners = [k for k in range(start, min(start + group, w.shape[1])) if mask[k] and sign * pull[k] >= 0]
                if not mask[j] and gain > 0 and partners and (best is None or gain > best[0]):
                    best = gain, j, min(partners, key=lambda k: wanda[row, k])
            if best is None or e.abs() <= threshold:
                break
            _, j, k = best
            if (e + pull[j] - pull[k]).sign() != sign:
                break
            e = e + pull[j] - pull[k]
            mask[j], mask[k] = True, False
    return kept


def plain_alps(w, x, level, rho=0.1):
    """ADMM as the paper's algorithm has it, then the exact least squares on the support."""
    w, x = w.double(), x.double()
    gram = x.T @ x / len(x)
    gram += 0.01 * gram.diagonal().mean() * torch.eye(len(gram))
    scale = gram.diagonal().sqrt()
    hessian = gram / torch.outer(scale, scale)
    dense = w * scale
    identity = torch.eye(len(gram), dtype=torch.float64)

    def project(weight):
        return weight.masked_fill(dropped_by(weight.abs(), level), 0)

    d = start = project(dense)
    v, before, begun = torch.zeros_like(dense), start != 0, False
    for t in range(300):
        b = torch.linalg.solve(hessian + rho * identity, dense @ hessian - v + rho * d, left=False)
        d = project(b + v / rho)
        v = v + rho * (b - d)
        if t % 3 == 2:
            change = ((d != 0) != before).sum().item() / before.sum().item()
            before = d != 0
            begun = begun or change > 0.005
            if not begun:
                rho, d, v, before = rho / 5, start, torch.zeros_like(v), start != 0
            elif change == 0:
                break
            else:
                rho *= 1.3 if change > 0.1 else 1.2 if change > 0.005 else 1.1
    support = project(b) != 0
    result = torch.zeros_like(w)
    for row in range(len(w)):
        kept = support[row]
        result[row, kept] = torch.linalg.solve(hessian[kept][:, kept], (dense[row] @ hessian)[kept]) / scale[kept]
    return result


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.5, 0.7])
def test_cumulative_wanda_is_the_authors_bisection_to_the_last_weight(layer, sparsity):
    w, x = layer
    dropped = ~compress_weight(w, x, "wanda", str(sparsity), cumulative=True).kept
    reference = plain_cumulative_wanda(w, x, sparsity)
    assert (dropped != reference).sum() == abs(int(dropped.sum()) - int(reference.sum())) <= 1e-3 * w.numel() + 1
    assert len(dropped.sum(1).unique()) > 1  # rows do differ


def test_cumulative_wanda_reaches_sparsities_beyond_the_authors_range(layer):
    w, x = layer
    assert compress_weight(w, x, "wanda", "0.99", cumulative=True).kept.sum() == w.numel() - int(0.99 * w.numel())


@pytest.mark.parametrize("level", [*SPARSITIES, *PATTERNS, "2:7"])
@pytest.mark.parametrize("options", [{}, {"initial": "magnitude"}, {"max_cycles": 3}, {"threshold": 20.0}], ids=str)
def test_dsnot_is_the_papers_loop(layer, level, options):
    w, x = layer
    if level == "2:7":
        w, x = w[:, :84], x[:, :84]
    compressed = compress_weight(w, x, "dsnot", level, **options)
    names = {"max_cycles": "cycles"}
    reference = plain_dsnot(w, x, level, **{names.get(key, key): value for key, value in options.items()})
    assert torch.equal(compressed.kept, reference)


@pytest.mark.parametrize("level", [*SPARSITIES, *PATTERNS])
def test_dsnot_brings_every_rows_expected_error_towards_zero(case, level):
    w, mean = case["W"].double(), case["X"].double().mean(0)
    wanda, dsnot = (
        (compress_weight(case["W"], case["X"], method, level).dense().double() - w) @ mean
        for method in ("wanda", "dsnot")
    )
    assert (dsnot.abs() <= wanda.abs() + 1e-9).all() and dsnot.abs().mean() < wanda.abs().mean() / 2
    assert (dsnot.sign() == wanda.sign()).all()


@pytest.mark.parametrize("level", [*SPARSITIES, *PATTERNS])
def test_alps_is_the_papers_algorithm(layer, level):
    w, x = layer
    compressed = compress_weight(w, x, "alps", level, refinements=100)
    reference = plain_alps(w, x, level)
    assert ((compressed.dense() != 0) == (reference != 0)).double().mean() > 0.99
    reference_error = ((x.double() @ (reference - w.double()).T).norm() / (x.double() @ w.double().T).norm()) ** 2
    assert error(w, x, compressed) == pytest.approx(reference_error.item(), rel=0.01)


def test_refinement_reaches_the_least_squares_solution_on_the_support(layer):
    w, x = layer[0].double(), layer[1]
    compressed = compress_weight(w, x, "alps", "0.5", refinements=200)
    gram = (x.T @ x / len(x)).double()
    gram += 0.01 * gram.diagonal().mean() * torch.eye(96)
    gradient = (compressed.dense() - w) @ gram
    assert gradient[compressed.kept].abs().max() < 1e-6 * (w @ gram).abs().max()
    errors = [error(w, x, compress_weight(w, x, "alps", "0.5", refinements=steps)) for steps in (1, 3, 10)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("level", ["0.3", "0.5", "0.7", "0.9", "2:4", "4:8"])
def test_each_method_beats_the_simpler_one(case, level):
    magnitude, wanda, dsnot, sparsegpt, alps = (
        error(case["W"], case["X"], compress_weight(case["W"], case["X"], method, level))
        for method in ("magnitude", "wanda", "dsnot", "sparsegpt", "alps")
    )
    assert alps < sparsegpt < dsnot < wanda < magnitude


@st.composite
def layers(draw):
    """A matrix with ties and zeros, and few inputs, so that their Gram matrix is singular."""
    rows, columns, tokens = draw(st.integers(1, 6)), draw(st.integers(1, 24)), draw(st.integers(1, 8))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    w = torch.randn(rows, columns, generator=draws)
    if draw(st.booleans()):
        w = w.round()
    x = torch.randn(tokens, columns, generator=draws) + draw(st.sampled_from([0.0, 1.0]))
    if draw(st.booleans()):
        x[:, ::3] = 0
    return w, x


@pytest.mark.parametrize(("method", "options"), METHODS, ids=str)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(layers(), st.integers(0, 99))
def test_sparsity_is_exact(method, options, layer, percent):
    w, x = layer
    compressed = compress_weight(w, x, method, f"{percent / 100}", **options)
    share = Fraction(percent, 100)
    if method in BY_ROW and not options.get("cumulative"):
        assert ((~compressed.kept).sum(1) == int(share * w.shape[1])).all()
    else:
        assert (~compressed.kept).sum() == int(share * w.numel())
    assert (compressed.dense()[~compressed.kept] == 0).all() and torch.isfinite(compressed.dense()).all()


@pytest.mark.parametrize(("method", "options"), METHODS, ids=str)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(layers(), st.integers(2, 27), st.data())
def test_n_of_m_holds_in_every_group_also_where_m_does_not_divide_the_width(method, options, layer, group, data):
    w, x = layer
    keep = data.draw(st.integers(1, group - 1))
    compressed = compress_weight(w, x, method, f"{keep}:{group}", **options)
    for columns in torch.arange(w.shape[1]).split(group):
        whole = len(columns) == group
        wanted = keep if whole else len(columns) - len(columns) * (group - keep) // group
        assert (compressed.kept[:, columns].sum(1) == wanted).all()
    assert (compressed.dense()[~compressed.kept] == 0).all()
    again = CompressedWeight.from_tensors(compressed.tensors(), json.loads(json.dumps(compressed.metadata())))
    assert torch.equal(again.dense(), compressed.dense()) and torch.equal(again.kept, compressed.kept)


@pytest.mark.parametrize(("method", "options"), MASKS_ONLY, ids=str)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(layers(), st.sampled_from(["0.0", "0.25", "0.5", "2:4", "3:5"]))
def test_methods_that_choose_a_mask_leave_what_they_keep_alone(method, options, layer, level):
    w, x = layer
    compressed = compress_weight(w, x, method, level, **options)
    assert torch.equal(compressed.dense(), w * compressed.kept)


@pytest.mark.parametrize(("method", "options"), METHODS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_level_zero_changes_nothing(layer, method, options, dtype):
    w = layer[0].to(dtype)
    assert torch.equal(compress_weight(w, layer[1], method, "0.0", **options).dense(), w)


@pytest.mark.parametrize(("method", "options"), METHODS, ids=str)
def test_rows_of_zeros_constant_channels_and_strided_weights_are_no_obstacle(layer, method, options):
    w, x = layer[0].clone(), layer[1].clone()
    w[3] = 0
    x[:, 10:20] = 0.5
    for level in ("0.5", "2:4"):
        compressed = compress_weight(w, x, method, level, **options)
        strided = compress_weight(w.T.contiguous().T, x, method, level, **options)
        assert torch.isfinite(compressed.dense()).all() and (compressed.dense()[3] == 0).all()
        assert torch.equal(strided.dense(), compressed.dense())


def test_bfloat16_weights_are_pruned_in_full_precision(layer):
    w = layer[0].bfloat16()
    for method, options in METHODS:
        half = compress_weight(w, layer[1], method, "0.5", **options)
        assert half.dense().dtype == torch.bfloat16
        assert torch.equal(half.kept, compress_weight(w.float(), layer[1], method, "0.5", **options).kept)


def test_options_out_of_range_are_refused(layer):
    for method, options, message in [
        ("dsnot", {"initial": "sparsegpt"}, "initial is 'sparsegpt'; it is wanda or magnitude"),
        ("dsnot", {"max_cycles": 0}, "whole number of at least 1"),
        ("dsnot", {"threshold": -1.0}, "0 or more"),
        ("alps", {"rho": 0.0}, "more than 0"),
        ("alps", {"refinements": 0}, "at least 1"),
        ("wanda", {"cumulative": 1}, "write a bool"),
    ]:
        with pytest.raises(PalimpsestError, match=message):
            compress_weight(*layer, method, "0.5", **options)
