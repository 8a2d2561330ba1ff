"""Quantization against plain float64 implementations of the papers, its formats, and models that round their inputs."""

from __future__ import annotations

import json
import math
import re

import pytest
import reference_cases
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import palimpsest
from palimpsest import compress_weight
from palimpsest.compression import registry
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.cell import compress
from palimpsest.compression.columns import run_lengths
from palimpsest.compression.layer import compress_layer
from palimpsest.compression.statistics import Statistics
from palimpsest.compression.weights import CompressedWeight
from palimpsest.compression.weights.base import round_tokens
from palimpsest.compression.weights.codebook import CODEBOOKS, dequantize_scales, quantize_scales
from palimpsest.levels import parse
from palimpsest.provenance import PalimpsestError

PLAIN = {"scale_bits": 32}  # so that only the arithmetic differs from the references in float64


@pytest.fixture(scope="module")
def layer():
    """W (24, 150) and X (400, 150) in float64: wider than a block of 128 columns, correlated, two large channels."""
    draws = torch.Generator().manual_seed(5)
    mixing = torch.randn(150, 150, generator=draws) / 12 + torch.eye(150)
    x = torch.randn(400, 150, generator=draws) @ mixing
    x[:, 20] *= 12
    x[:, 131] *= 5
    return (torch.randn(24, 150, generator=draws) * 0.05).double(), x.double()


@pytest.fixture(scope="module")
def case():
    return reference_cases.c256()


def output_error(w, x, approximation):
    difference = x.double() @ (approximation.double() - w.double()).T
    return ((difference**2).sum() / ((x.double() @ w.double().T) ** 2).sum()).item()


# -- the papers' formulas, one row or one column at a time, in float64 ------------------------------------------------


def plain_grid(part, bits, symmetric=False, clip=False):
    """Scale and zero of each row of a group of columns (GPTQ's quantizer)."""

    def grid(low, high):
        scale = torch.where(high > low, (high - low) / (2**bits - 1), 1.0).float().double()  # as it is stored
        return scale, torch.full_like(scale, 2 ** (bits - 1)) if symmetric else torch.round(-low / scale)

    low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
    if symmetric:
        low, high = -torch.maximum(high, -low), torch.maximum(high, -low)
    best = grid(low, high)
    if clip:
        least = ((plain_round(part, *best, bits) - part).abs() ** 2.4).sum(1)
        for step in range(1, 80):
            tried = grid(low * (1 - step / 100), high * (1 - step / 100))
            error = ((plain_round(part, *tried, bits) - part).abs() ** 2.4).sum(1)
            best = tuple(torch.where(error < least, new, old) for new, old in zip(tried, best, strict=True))
            least = torch.minimum(error, least)
    return best


def plain_round(part, scale, zero, bits):
    scale, zero = scale[:, None], zero[:, None]
    return scale * (torch.clamp(torch.round(part / scale) + zero, 0, 2**bits - 1) - zero)


def plain_rtn(w, bits, group=None, **options):
    parts = w.split(group or w.shape[1], dim=1)
    return torch.cat([plain_round(part, *plain_grid(part, bits, **options), bits) for part in parts], dim=1)


def inverse_factor(x, order, damping=0.01):
    """The upper triangular U with UᵀU = H⁻¹, channels in this order; dead ones count as average ones."""
    hessian = x.T @ x / len(x)
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = hessian.diagonal()[~dead].mean() if not dead.all() else 1.0
    hessian += damping * hessian.diagonal()[~dead].mean() * torch.eye(len(hessian), dtype=x.dtype)
    return torch.linalg.cholesky(torch.linalg.inv(hessian[order][:, order]), upper=True)


def plain_gptq(w, x, bits, group=None, act_order=False, static_groups=False, symmetric=False, mse_clipping=False):
    columns, energy = w.shape[1], (x**2).mean(0)
    energy = torch.where(energy > 0, energy, energy[energy > 0].mean())
    order = torch.argsort(energy, descending=True, stable=True) if act_order else torch.arange(columns)
    u, size = inverse_factor(x, order), group or columns
    static = [plain_grid(part, bits, symmetric, mse_clipping) for part in w.split(size, dim=1)]
    w, result = w[:, order].clone(), torch.empty_like(w)
    for j in range(columns):
        if static_groups or group is None:
            grid = static[order[j] // size]
        elif j % size == 0:
            grid = plain_grid(w[:, j : j + size], bits, symmetric, mse_clipping)
        result[:, order[j]] = plain_round(w[:, j : j + 1], *grid, bits)[:, 0]
        error = (w[:, j] - result[:, order[j]]) / u[j, j]
        w[:, j + 1 :] -= torch.outer(error, u[j, j + 1 :])
    return result


def plain_joint(w, x, sparsity, n_of_m, bits, group=None, block=128):
    """SparseGPT in whose sweep the kept weights are rounded; a row's grid is that of the dense row."""
    u = inverse_factor(x, torch.arange(w.shape[1]))
    score_scale, w, result = u.diagonal() ** 2, w.clone(), torch.empty_like(w)
    kept = torch.ones_like(w, dtype=torch.bool)
    grid = plain_grid(w, bits)
    for j in range(w.shape[1]):
        unit = n_of_m[1] if n_of_m else block
        if j % unit == 0:
            columns = slice(j, min(j + unit, w.shape[1]))
            score = w[:, columns] ** 2 / score_scale[columns]
            if n_of_m:
                drop = score.argsort(1)[:, : n_of_m[1] - n_of_m[0]]
                kept[:, columns] = kept[:, columns].scatter(1, drop, False)
            else:
                drop = score.flatten().argsort()[: math.floor(sparsity * score.numel())]
                kept[:, columns] = torch.ones(score.numel(), dtype=torch.bool).scatter(0, drop, False).view_as(score)
        if group and j % group == 0:
            columns = slice(j, j + group)
            grid = plain_grid(torch.where(kept[:, columns], w[:, columns], 0), bits)
        rounded = plain_round(w[:, j : j + 1], *grid, bits)[:, 0]
        result[:, j] = torch.where(kept[:, j], rounded, 0)
        w[:, j + 1 :] -= torch.outer((w[:, j] - result[:, j]) / u[j, j], u[j, j + 1 :])
    return result, kept


def plain_awq_scale(w, x, bits, group=None):
    """The scale whose exponent gives the least output error on all tokens."""
    magnitude, least = x.abs().mean(0), math.inf
    for step in range(20):
        s = magnitude ** (step / 20)
        s = s / (s.max() * s.min()).sqrt()
        error = ((x @ (plain_rtn(w * s, bits, group) / s - w).T) ** 2).sum().item()
        if error < least:
            least, scale, exponent = error, s, step / 20
    return scale, exponent


def plain_awq(w, x, scale, bits, group=None, clamped=False):
    """A clip for each row's group by its own part of the output error.

    clamped: what is rounded is the clamped weight, as in the authors' code; a grid may reach beyond its clamp by up to
    half a step, where the nearest point of it to the weight itself is nearer.
    """
    parts = []
    for columns in torch.arange(w.shape[1]).split(group or w.shape[1]):
        part, inputs, best = w[:, columns] * scale[columns], x[:, columns] / scale[columns], None
        for step in range(10):
            limit = part.abs().amax(1, keepdim=True) * (1 - step / 20)
            clipped = torch.maximum(torch.minimum(part, limit), -limit)
            rounded = plain_round(clipped if clamped else part, *plain_grid(clipped, bits), bits)
            error = ((inputs @ (rounded - part).T) ** 2).sum(0)
            if best is None:
                best, lowest = rounded, error
            best = torch.where((error < lowest)[:, None], rounded, best)
            lowest = torch.minimum(error, lowest)
        parts.append(best)
    return torch.cat(parts, dim=1) / scale


def plain_hqq(row, bits, p=0.7, beta=10.0, kappa=1.01, iterations=20):
    """One group of weights of one row: the best iterate of the half-quadratic solver."""
    scale = (row.max() - row.min()) / (2**bits - 1)
    zero, best, least = -row.min() / scale, None, math.inf
    for _ in range(iterations + 1):
        codes = torch.clamp(torch.round(row / scale + zero), 0, 2**bits - 1)
        error = row - scale * (codes - zero)
        loss = (error.abs() ** p).sum().item()
        if loss < least:
            best, least = scale * (codes - zero), loss
        noise = torch.sign(error) * torch.relu(error.abs() - error.abs() ** (p - 1) / beta)
        zero = (codes - (row - noise) / scale).mean()
        beta *= kappa
    return best


# -- rtn, gptq --------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    bits=st.integers(2, 8),
    group=st.none() | st.integers(2, 60),
    act_order=st.booleans(),
    static_groups=st.booleans(),
    symmetric=st.booleans(),
    mse_clipping=st.booleans(),
    dead=st.booleans(),
)
def test_gptq_is_the_papers_recursion_in_every_combination(bits, group, dead, **options):
    # The first column of a group whose symmetric grid is fitted to it lies half way between two points as often as not.
    assume(not (options["symmetric"] and group and not options["static_groups"]))
    draws = torch.Generator().manual_seed(bits)
    w = torch.randn(9, 45, generator=draws).double()
    x = (torch.randn(200, 45, generator=draws) @ torch.randn(45, 45, generator=draws)).double()
    x[:, ::6] *= 0 if dead else 1
    mine = compress_weight(w, x, "gptq", f"{bits}g{group}" if group else str(bits), **PLAIN, **options)
    reference = plain_gptq(w, x, bits, group, **options)
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, reference), rel=0.01)
    # A weight half way between two points may go either way, and then the later ones of its row go other ways.
    assert ((mine.dense() - reference).abs() > 1e-4).any(1).sum() <= 1
    assert int(mine.codes.max()) < 2**bits and mine.achieved() == {"bits": bits}
    assert torch.equal(read_back(mine).dense(), mine.dense())


@pytest.mark.parametrize("level", ["4g16", "3g24", "2g50", "8g40"])
@pytest.mark.parametrize("act_order", [False, True])
def test_gptq_with_symmetric_grids_of_groups_is_the_papers_up_to_ties(layer, level, act_order):
    w, x = layer
    bits, group = parse(level).bits, parse(level).group
    mine = compress_weight(w, x, "gptq", level, symmetric=True, act_order=act_order, **PLAIN)
    reference = plain_gptq(w, x, bits, group, act_order, symmetric=True)
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, reference), rel=0.03)
    assert "zeros" not in mine.tensors() and int(mine.codes.max()) < 2**bits


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    bits=st.integers(2, 8),
    group=st.none() | st.integers(2, 60),
    symmetric=st.booleans(),
    mse_clipping=st.booleans(),
    size=st.sampled_from([1e-6, 1.0, 1e4]),
)
def test_rtn_is_the_nearest_point_of_the_grid(bits, group, symmetric, mse_clipping, size):
    w = torch.randn(7, 45, generator=torch.Generator().manual_seed(bits)).double() * size
    options = {"symmetric": symmetric, "mse_clipping": mse_clipping}
    mine = compress_weight(w, None, "rtn", f"{bits}g{group}" if group else str(bits), **PLAIN, **options)
    reference = plain_rtn(w, bits, group, symmetric=symmetric, clip=mse_clipping)
    assert ((mine.dense() - reference).abs() > 1e-4 * size).sum() <= 1


@given(st.lists(st.integers(1, 40), max_size=2), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_the_sweep_tells_of_every_unit_once_in_order(factors, columns):
    from palimpsest.compression.columns import sweep

    units, told = [math.prod(factors[: count + 1]) for count in range(len(factors))][::-1], []
    lengths = run_lengths(units)
    assert all(length % unit == 0 for unit in units for length in lengths if length > unit)
    begins = [
        (unit, lambda start, stop, _, unit=unit: told.append((unit, start, stop))) for unit in dict.fromkeys(units)
    ]
    sweep(torch.zeros(1, columns), torch.eye(columns), begins, lambda j, column, error: error.zero_())
    for unit, _ in begins:
        wanted = [(start, min(start + unit, columns)) for start in range(0, columns, unit)]
        assert [(start, stop) for which, start, stop in told if which == unit] == wanted


@pytest.mark.parametrize(("method", "level", "options"), [
    ("gptq", "3", {}), ("gptq", "2g32", {"act_order": True}), ("gptq", "4g24", {"static_groups": True}),
    ("sparsegpt", "0.5", {}), ("sparsegpt", "2:4", {"damping": 0.3}), ("sparsegpt", "0.5+3g32", {}),
])  # fmt: skip
def test_the_loss_that_a_sweep_knows_is_that_of_the_matrix(layer, method, level, options):
    """‖(W - W')X‖² / tokens, with channels that were never active, whose diagonal was made up."""
    w, x = layer[0].float(), layer[1].clone()
    x[:, 5:9] = 0
    mine = compress_weight(w, x, method, level, **options)
    lost = ((w.double() - mine.dense().double()) @ x.double().T).square().sum().item() / len(x)
    assert mine.loss == pytest.approx(lost, rel=1e-3)
    assert compress_weight(w.bfloat16(), x, method, level, **options).loss is None  # rounding comes on top


def test_a_loss_that_rounding_could_hide_is_not_told():
    """With so much damping it is nearly all of Σ e² / d², and what the inputs add to it is lost among its digits."""
    rng = torch.Generator().manual_seed(0)
    w, x = torch.randn(16, 64, generator=rng), torch.randn(200, 64, generator=rng)
    assert compress_weight(w, x, "sparsegpt", "0.5").loss is not None
    assert compress_weight(w, x, "sparsegpt", "0.5", damping=100.0).loss is None


def test_what_a_unit_is_told_of_is_up_to_date(layer):
    """GPTQ with groups of 24, which are no part of a block of 32 columns, as the authors' code does not have it."""
    w, x = layer
    mine = compress_weight(w, x, "gptq", "3g24", **PLAIN)
    assert mine.scales.shape == (24, 7)
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, plain_gptq(w, x, 3, 24)), rel=1e-3)


@pytest.mark.parametrize("method", ["rtn", "gptq", "awq", "hqq"])
def test_a_group_that_is_larger_than_the_row_is_the_row_and_is_recorded(layer, method):
    w, x = layer
    statistics = Statistics.of(x, needs=registry.declaration(method).needs)
    wide = compress_layer("layer", w, statistics, method, parse("4g1000"))
    whole = compress_weight(w, x, method, "4")
    assert torch.equal(wide.dense(), whole.dense()) and wide.metadata() == whole.metadata()
    assert wide.metadata()["group"] is None and statistics.record["group_asked"] == 1000


def test_true_sequential_changes_nothing_for_a_single_matrix(layer):
    plain, sequential = (compress_weight(*layer, "gptq", "3", true_sequential=value) for value in (False, True))
    assert torch.equal(plain.dense(), sequential.dense())


# -- awq --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "bits", "group"), [("4", 4, None), ("3g32", 3, 32), ("2g50", 2, 50), ("4g64", 4, 64)]
)
def test_awq_is_the_search_of_the_paper(layer, level, bits, group):
    w, x = layer
    scale, exponent = plain_awq_scale(w, x, bits, group)
    mine = compress_weight(w, x, "awq", level, **PLAIN)
    assert exponent > 0
    torch.testing.assert_close(mine.input_scale.double(), scale, atol=1e-6, rtol=1e-6)
    # To the last bit, since a grid that is clipped on both sides has its zero half way between two integers.
    stored = mine.input_scale.double()
    reference = plain_awq(w, x, stored, bits, group)
    assert ((mine.dense() - reference).abs() > 1e-4).float().mean() < 0.002
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, reference), rel=1e-3)
    authors = plain_awq(w, x, stored, bits, group, clamped=True)
    assert output_error(w, x, mine.dense()) < 1.01 * output_error(w, x, authors)


def test_awq_without_outliers_to_protect_or_clips_is_rounding(layer):
    w, _ = layer
    zeros = compress_weight(w, torch.zeros(3, 150), "awq", "4g32", **PLAIN)
    assert torch.equal(zeros.input_scale, torch.ones(150))
    assert torch.equal(zeros.dense(), compress_weight(w, None, "rtn", "4g32", **PLAIN).dense())


def test_awq_keeps_channels_that_were_never_active(layer):
    w, x = layer[0], layer[1].clone()
    x[:, ::5] = 0
    compressed = compress_weight(w, x, "awq", "4g32")
    dead = (compressed.dense() - w)[:, ::5].norm() / w[:, ::5].norm()
    assert dead < 2 * (compress_weight(w, None, "rtn", "4g32").dense() - w)[:, ::5].norm() / w[:, ::5].norm()


# -- hqq, nf4 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "bits", "group"), [("4g64", 4, 64), ("2g50", 2, 50), ("3", 3, 150)])
@pytest.mark.parametrize("size", [1.0, 40.0])  # the proximal step answers 0 for small weights
def test_hqq_is_the_half_quadratic_iteration(layer, level, bits, group, size):
    w = layer[0] * size
    mine = compress_weight(w, None, "hqq", level, **PLAIN).dense()
    reference = torch.stack([torch.cat([plain_hqq(part, bits) for part in row.split(group)]) for row in w])
    assert ((mine - reference).abs() > 1e-4 * size).float().mean() < 0.002
    assert (mine - w).abs().pow(0.7).sum() == pytest.approx((reference - w).abs().pow(0.7).sum().item(), rel=1e-3)


def test_zero_points_of_hqq_are_no_integers_and_cost_as_much_as_scales(layer):
    half = compress_weight(layer[0], None, "hqq", "4g50", scale_bits=16)
    tensors = half.tensors()
    assert tensors["zeros"].dtype == tensors["scales"].dtype == torch.float16
    assert (tensors["zeros"] != tensors["zeros"].round()).any()
    assert half.bits_per_weight == pytest.approx(4 + 2 * 16 / 50)


def test_equal_weights_and_rows_of_zeros_have_grids_in_hqq():
    w = torch.stack([torch.zeros(8), torch.full((8,), 0.3), torch.full((8,), -7.0), torch.linspace(5, 5.1, 8)])
    assert (compress_weight(w, None, "hqq", "8").dense() - w).abs().max() < 0.01


def test_nf4s_numbers_are_the_quantiles_of_the_normal_distribution():
    from scipy.stats import norm

    positive = norm.ppf(torch.linspace(0.9677083, 0.5, 9, dtype=torch.float64)[:-1].numpy())
    negative = -norm.ppf(torch.linspace(0.9677083, 0.5, 8, dtype=torch.float64)[:-1].numpy())
    wanted = sorted([*positive, 0.0, *negative])
    assert CODEBOOKS["nf4"] == pytest.approx([value / max(wanted) for value in wanted], abs=1e-12)
    # As printed in appendix E of the paper.
    assert CODEBOOKS["nf4"] == pytest.approx(
        [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
         -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
         0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0],
        abs=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("width", [64, 150, 200, 7])
def test_nf4_takes_the_nearest_number_of_each_block(width):
    w = torch.randn(40, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.02
    mine = compress_weight(w, None, "nf4", "nf4")
    numbers, largest = torch.tensor(CODEBOOKS["nf4"], dtype=torch.float64), []
    for row in w:
        largest += [part.abs().max() for part in row.split(64)]
    largest = torch.stack(largest)
    mean, stored = largest.mean(), []
    for block in (largest - largest.mean()).split(256):
        step = block.abs().max() / 127
        stored.append(mean + step * torch.round(block / step))
    blocks, result = iter(torch.cat(stored)), torch.empty_like(w)
    for i, row in enumerate(w):
        for start in range(0, width, 64):
            part, scale = row[start : start + 64], next(blocks)
            result[i, start : start + 64] = scale * numbers[(part[:, None] / scale - numbers).abs().argmin(1)]
    assert ((mine.dense() - result).abs() > 1e-6).sum() <= 1
    assert mine.achieved() == {"bits": 4} and mine.codes.max() <= 15


def test_double_quantization_costs_0_127_bits_a_weight():
    compressed = compress_weight(torch.randn(512, 1024), None, "nf4", "nf4")
    assert compressed.bits_per_weight - 4 == pytest.approx(8 / 64 + 32 / (64 * 256), abs=1e-4)
    assert compressed.bits_per_weight - 4 == pytest.approx(0.127, abs=5e-4)


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=600))
@settings(max_examples=50, deadline=None)
def test_scales_come_back_to_half_a_step(values):
    scales = torch.tensor(values)
    integers, steps, mean = quantize_scales(scales)
    back = dequantize_scales(integers, steps, mean)
    step = steps.repeat_interleave(256)[: len(scales)]
    assert integers.abs().max() <= 127 and (back >= 0).all()
    assert ((back - scales).abs() <= 0.501 * step + 1e-6 * scales.max()).all()


def test_blocks_of_zeros_stay_zero_in_nf4():
    w = torch.randn(3, 130, generator=torch.Generator().manual_seed(0))
    w[1] = 0
    w[:, 64:128] = 0
    dense = compress_weight(w, None, "nf4", "nf4").dense()
    assert (dense[w == 0] == 0).all() and (dense - w).abs().max() < 0.2 * w.abs().max()


# -- llm-int8, smoothquant: weights and inputs ------------------------------------------------------------------------


def integers(matrix, dim):
    """int8 with one scale along `dim`: the integers and the scale."""
    scale = matrix.abs().amax(dim, keepdim=True) / 127
    return torch.round(matrix / scale), scale


def test_llm_int8_is_the_integer_product_plus_the_outliers(layer):
    w, x = layer
    outlier = x.abs().amax(0) > 6
    compressed = compress_weight(w, x, "llm-int8", "int8", **PLAIN)
    (qw, sw), (qx, sx) = integers(w[:, ~outlier], 1), integers(x[:, ~outlier], 1)
    wanted = x[:, outlier] @ w[:, outlier].T + (qx @ qw.T) * sx * sw.T
    assert 0 < outlier.sum() < 20 and compressed.exempt.tolist() == outlier.nonzero().flatten().tolist()
    torch.testing.assert_close(compressed.linear(x), wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(compressed.dense()[:, outlier], w[:, outlier])
    assert compressed.codes.dtype == torch.int8 and compressed.codes.abs().max() == 127


@pytest.mark.parametrize(("threshold", "outliers"), [(1e9, 0), (1e-9, 150)])
def test_none_or_all_channels_may_be_outliers(layer, threshold, outliers):
    w, x = layer
    compressed = compress_weight(w, x, "llm-int8", "int8", threshold=threshold)
    again = read_back(compressed)
    assert len(again.exempt) == outliers and torch.equal(again.linear(x), compressed.linear(x))
    if outliers == 150:
        assert torch.equal(compressed.linear(x), x @ w.T)
    else:
        assert compressed.achieved() == {"bits": 8}


@pytest.mark.parametrize("alpha", [0.5, 0.8, 0.0, 1.0])
def test_smoothquant_is_the_integer_product_of_what_was_evened_out(layer, alpha):
    w, x = layer
    compressed = compress_weight(w, x, "smoothquant", "w8a8", alpha=alpha, **PLAIN)
    s = x.abs().amax(0) ** alpha / w.abs().amax(0) ** (1 - alpha)
    (qw, sw), (qx, sx) = integers(w * s, 1), integers(x / s, 1)
    torch.testing.assert_close(compressed.input_scale.double(), s, atol=1e-6, rtol=1e-6)
    # An entry half way between two integers may go either way.
    assert (compressed.linear(x) - (qx @ qw.T) * sx * sw.T).abs().median() < 1e-5
    torch.testing.assert_close(compressed.linear(x), (qx @ qw.T) * sx * sw.T, atol=0.02, rtol=1e-3)
    assert compressed.codes.min() >= 1 and compressed.codes.max() <= 255  # -127 to 127 around 128


def test_outlier_aware_methods_answer_better_where_there_are_outliers(layer):
    w, x = layer
    y = x @ w.T

    def error(method, level, **options):
        answer = compress_weight(w, x, method, level, **options).linear(x)
        return (((answer - y) ** 2).sum() / (y**2).sum()).item()

    plain = error("llm-int8", "int8", threshold=1e9)
    assert error("llm-int8", "int8") < 0.5 * plain
    assert error("smoothquant", "w8a8") < 0.5 * plain


@pytest.mark.parametrize(("method", "level"), [("llm-int8", "int8"), ("smoothquant", "w8a8")])
def test_a_token_is_rounded_by_itself(layer, method, level):
    w, x = layer[0].float(), layer[1].float()
    compressed = compress_weight(w, x, method, level)
    whole = compressed.prepare(x.view(8, 50, 150))
    alone = torch.stack([compressed.prepare(token) for token in x])
    assert torch.equal(whole.view(400, 150), alone) and not torch.equal(alone, x)
    assert torch.equal(compressed.prepare(torch.zeros(2, 150)), torch.zeros(2, 150))
    for row in range(400):
        regular = torch.ones(150, dtype=torch.bool)
        if compressed.exempt is not None:
            regular[compressed.exempt] = False
        scale = 1 if compressed.input_scale is None else compressed.input_scale[regular]
        steps = (alone[row, regular] / scale) / ((x[row, regular] / scale).abs().max() / 127)
        assert (steps - steps.round()).abs().max() < 1e-3 and steps.abs().max() < 127.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_rounding_inputs_keeps_their_type_and_is_done_in_float32(layer, dtype):
    x = layer[1].to(dtype)
    rounded = round_tokens(x)
    assert rounded.dtype == dtype
    wanted = round_tokens(x.float() if dtype != torch.float64 else x).to(dtype)
    assert torch.equal(rounded, wanted)


def test_channels_that_were_never_active_and_columns_of_zeros_do_no_harm_in_smoothquant(layer):
    w, x = layer[0].clone(), layer[1].clone()
    x[:, 3], w[:, 7] = 0, 0
    compressed = compress_weight(w, x, "smoothquant", "w8a8")
    assert torch.isfinite(compressed.input_scale).all() and (compressed.input_scale > 0).all()
    later = layer[1]  # in which channel 3 is active
    y = later @ w.T
    assert ((compressed.linear(later) - y) ** 2).sum() / (y**2).sum() < 1e-3


# -- pruned and quantized at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "sparsity", "n_of_m", "bits", "group", "block"),
    [
        ("0.5+4", 0.5, None, 4, None, 128),
        ("0.5+4g128", 0.5, None, 4, 128, 128),
        ("0.3+3g32", 0.3, None, 3, 32, 128),
        ("0.5+4g24", 0.5, None, 4, 24, 120),  # the mask is chosen for whole groups
        ("2:4+4", None, (2, 4), 4, None, None),
        ("2:4+3g32", None, (2, 4), 3, 32, None),
    ],
)
def test_the_joint_sweep_is_the_papers_recursion(layer, level, sparsity, n_of_m, bits, group, block):
    w, x = layer[0][:, :148], layer[1][:, :148]
    if n_of_m and group:  # a group's grid is fitted before the masks of its N:M groups are chosen
        reference, kept = plain_joint_before_masks(w, x, n_of_m, bits, group)
    else:
        reference, kept = plain_joint(w, x, sparsity, n_of_m, bits, group, block)
    mine = compress_weight(w, x, "sparsegpt", level, **PLAIN)
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, reference), rel=0.01)
    assert (mine.kept != kept).float().mean() < 0.003
    assert ((mine.dense() - reference).abs() > 1e-4).float().mean() < 0.02
    assert (mine.dense()[~mine.kept] == 0).all() and int(mine.quantized.codes.max()) < 2**bits


def plain_joint_before_masks(w, x, n_of_m, bits, group):
    u = inverse_factor(x, torch.arange(w.shape[1]))
    w, result, kept = w.clone(), torch.empty_like(w), torch.ones_like(w, dtype=torch.bool)
    for j in range(w.shape[1]):
        if j % group == 0:
            grid = plain_grid(w[:, j : j + group], bits)
        if j % n_of_m[1] == 0:
            columns = slice(j, j + n_of_m[1])
            drop = (w[:, columns] ** 2 / u.diagonal()[columns] ** 2).argsort(1)[:, : n_of_m[1] - n_of_m[0]]
            kept[:, columns] = kept[:, columns].scatter(1, drop, False)
        result[:, j] = torch.where(kept[:, j], plain_round(w[:, j : j + 1], *grid, bits)[:, 0], 0)
        w[:, j + 1 :] -= torch.outer((w[:, j] - result[:, j]) / u[j, j], u[j, j + 1 :])
    return result, kept


def test_pruning_nothing_and_rounding_is_gptq(layer):
    for grid in ("4", "3g128", "4g32"):
        joint = compress_weight(*layer, "sparsegpt", f"0.0+{grid}", mse_clipping=True)
        assert torch.equal(joint.dense(), compress_weight(*layer, "gptq", grid, mse_clipping=True).dense())


@pytest.mark.parametrize("level", ["0.5+4g32", "0.37+2", "2:4+3", "3:7+4", "1:4+4g16", "4:8+3g24"])
def test_joint_levels_keep_as_many_as_asked_in_the_bits_asked(layer, level):
    mine = compress_weight(*layer, "sparsegpt", level)
    pruning, grid = parse(level).pruning, parse(level).quantization
    if pruning.syntax == "n:m":
        whole = 150 - 150 % pruning.group
        assert (mine.kept[:, :whole].view(24, -1, pruning.group).sum(-1) == pruning.keep).all()
    assert mine.achieved()["sparsity"] == pytest.approx(pruning.fraction, abs=2 / 150)
    assert mine.achieved()["bits"] == grid.bits
    kept = int(mine.kept.sum())
    groups = 24 * -(-150 // (grid.group or 150))
    assert mine.tensors()["codes"].nbytes == -(-kept * grid.bits // 8)
    where = mine.tensors().get("bitmask", mine.tensors().get("places"))
    assert where.nbytes <= 24 * 150 // 8
    assert mine.nbytes == -(-kept * grid.bits // 8) + where.nbytes + 4 * groups + -(-groups * grid.bits // 8)


# -- what is stored ---------------------------------------------------------------------------------------------------


def read_back(compressed):
    return CompressedWeight.from_tensors(compressed.tensors(), json.loads(json.dumps(compressed.metadata())))


STORED = [
    ("rtn", "3g40", {}),
    ("gptq", "5g40", {"act_order": True}),
    ("awq", "4g40", {}),
    ("awq", "2", {"clipping": False, "symmetric": True}),
    ("hqq", "3g40", {}),
    ("nf4", "nf4", {}),
    ("llm-int8", "int8", {}),
    ("smoothquant", "w8a8", {}),
    ("sparsegpt", "0.5+4g40", {}),
    ("sparsegpt", "2:4+3", {}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("method", "level", "options"), STORED)
def test_what_is_stored_is_what_is_evaluated(layer, method, level, options, dtype):
    w, x = (part.to(dtype) for part in layer)
    compressed = compress_weight(w, x, method, level, **options)
    again = read_back(compressed)
    assert compressed.dense().dtype == again.dense().dtype == dtype
    assert torch.equal(again.dense(), compressed.dense())
    assert torch.equal(again.prepare(x), compressed.prepare(x)) and torch.equal(again.linear(x), compressed.linear(x))
    assert again.nbytes == compressed.nbytes and again.metadata() == compressed.metadata()
    if dtype != torch.float32:
        floats = [tensor for name, tensor in again.tensors().items() if tensor.is_floating_point()]
        assert all(tensor.element_size() == 2 for tensor in floats) or method == "nf4"


@pytest.mark.parametrize(
    ("method", "level", "information"),
    [
        ("rtn", "4", lambda n, rows: 4 * n + 20 * rows),
        ("rtn", "3g128", lambda n, rows: 3 * n + 19 * n / 128),
        ("gptq", "2g64", lambda n, rows: 2 * n + 18 * n / 64),
        ("awq", "4g128", lambda n, rows: 4 * n + 20 * n / 128),
        ("hqq", "4g64", lambda n, rows: 4 * n + 32 * n / 64),
        ("nf4", "nf4", lambda n, rows: (4 + 8 / 64 + 32 / (64 * 256)) * n),
        ("llm-int8", "int8", lambda n, rows: 8 * n + 16 * rows),
        ("smoothquant", "w8a8", lambda n, rows: 8 * n + 16 * rows),
        ("sparsegpt", "0.5+4g128", lambda n, rows: 0.5 * 4 * n + n + 20 * n / 128),
        ("sparsegpt", "2:4+4", lambda n, rows: 0.5 * 4 * n + n + 20 * rows),
    ],
)
def test_a_million_weights_take_at_most_3_percent_more_than_their_information(method, level, information):
    draws = torch.Generator().manual_seed(0)
    w, x = torch.randn(1024, 1024, generator=draws).bfloat16() * 0.02, torch.randn(64, 1024, generator=draws)
    compressed = compress_weight(w, x, method, level)
    assert 1 <= 8 * compressed.nbytes / information(w.numel(), 1024) < 1.03


# -- levels and options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "level", "takes"),
    [
        ("nf4", "int8", "format, e.g. 'nf4'"),
        ("nf4", "4", "format, e.g. 'nf4'"),
        ("llm-int8", "w8a8", "format, e.g. 'int8'"),
        ("smoothquant", "nf4", "format, e.g. 'w8a8'"),
        ("smoothquant", "8", "format, e.g. 'w8a8'"),
        ("awq", "nf4", "bits, e.g. '4'"),
        ("hqq", "0.5+4", "bits, e.g. '4'"),
    ],
)
def test_a_method_takes_its_own_format_only(layer, method, level, takes):
    with pytest.raises(PalimpsestError, match=re.escape(f"{method} has no level '{level}'; it takes {takes}")):
        compress_weight(*layer, method, level)


def test_methods_name_their_formats():
    found = palimpsest.methods()
    assert found["nf4"]["levels"] == {"format": ("nf4",)} and found["llm-int8"]["levels"] == {"format": ("int8",)}
    assert found["smoothquant"]["levels"] == {"format": ("w8a8",)}
    assert "joint" in found["sparsegpt"]["levels"] and "format" not in found["gptq"]["levels"]


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ('levels=("format",)', "a method that takes number formats names them"),
        ('formats=("nf4",)', "and no other does"),
        ('levels=("format",), formats=("fp4",)', "'fp4' is none of nf4, int8, w8a8"),
        ('levels=("bytes",)', "'bytes' is none of sparsity"),
    ],
)
def test_a_declaration_of_formats_that_makes_no_sense_is_an_error(tmp_path, monkeypatch, levels, message):
    (tmp_path / "mine.py").write_text(
        f'\n@method("mine", family="quantization", {levels})\ndef mine(weight, stats, level):\n    """Mine."""\n'
    )
    monkeypatch.setattr(registry, "METHODS", tmp_path)
    with pytest.raises(PalimpsestError, match=message):
        registry.declared.__wrapped__()


def test_a_study_with_a_format_that_the_method_does_not_take_is_told_so():
    from palimpsest import settings as studies

    study = {
        "name": "formats",
        "models": {"m": {"source": "folder", "path": "models/m"}},
        "compression": {"nf4": {"levels": ["nf4", "int8"]}, "smoothquant": {"levels": ["4"]}},
        "tasks": ["blimp"],
    }
    with pytest.raises(PalimpsestError) as error:
        studies.load(study, "my.yaml")
    message = " ".join(str(error.value).split())
    assert 'nf4 does not take "int8" (a level of kind format); it takes format "nf4"' in message
    assert 'smoothquant does not take "4" (a level of kind bits); it takes format "w8a8"' in message
    assert "nf4: levels: [nf4]" in message and "smoothquant: levels: [w8a8]" in message


@pytest.mark.parametrize(
    ("method", "level", "options", "message"),
    [
        ("hqq", "4", {"norm": 1.5}, "norm is 1.5; it is from 0 to 1"),
        ("hqq", "4", {"iterations": 0}, "iterations is 0; it is a whole number of at least 1"),
        ("smoothquant", "w8a8", {"alpha": -0.1}, "alpha is -0.1"),
        ("llm-int8", "int8", {"threshold": 0.0}, "threshold is 0.0; it is more than 0"),
        ("awq", "4", {"scale_bits": 8}, "scale_bits is 8"),
    ],
)
def test_options_out_of_range_are_refused(layer, method, level, options, message):
    with pytest.raises(PalimpsestError, match=message):
        compress_weight(*layer, method, level, **options)


# -- a loaded model ---------------------------------------------------------------------------------------------------

LOADED = [
    ("smoothquant", "w8a8", {}),
    ("llm-int8", "int8", {"threshold": 3.0}),
    ("awq", "4g8", {}),
    ("hqq", "3g16", {}),
    ("nf4", "nf4", {}),
    ("sparsegpt", "2:4+4", {}),
]
ROUNDED = LOADED[:2]


@pytest.fixture(scope="module")
def cells(tmp_path_factory, tiny_model_folder, tiny_calibration_folder):
    folder = tmp_path_factory.mktemp("cells")
    for method, level, options in LOADED:
        calibration = tiny_calibration_folder if registry.declaration(method).needs else None
        compress(
            tiny_model_folder, folder / method, method=method, level=level, options=options,
            calibration_folder=calibration,
        )  # fmt: skip
    return folder


@pytest.mark.parametrize(("method", "level", "options"), LOADED)
def test_a_loaded_layer_answers_what_the_compressed_one_does(cells, method, level, options):
    model, _ = palimpsest.load(cells / method)
    x = torch.randn(3, 7, 32, generator=torch.Generator().manual_seed(0))
    layers = read_layers(cells / method, read_record(cells / method))
    assert len(layers) == 14
    for name, compressed in layers.items():
        if compressed.shape[1] == 32:
            answer = model.get_submodule(name)(x)
            assert torch.equal(answer, compressed.linear(x))
            rounds = not torch.equal(compressed.prepare(x), x)
            assert torch.equal(answer, x @ compressed.dense().T) != rounds
            assert rounds == (method in ("smoothquant", "llm-int8"))


@pytest.mark.parametrize(("method", "level", "options"), ROUNDED)
def test_logits_do_not_depend_on_the_batch_though_inputs_are_rounded(cells, tiny_model_folder, method, level, options):
    (model, _), (dense, _) = palimpsest.load(cells / method), palimpsest.load(tiny_model_folder)
    tokens = torch.randint(4, 48, (16, 12), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = model(input_ids=tokens).logits
        alone = torch.cat([model(input_ids=row[None]).logits for row in tokens])
        padded = model(input_ids=torch.cat([tokens, torch.zeros(16, 5, dtype=torch.long)], dim=1)).logits[:, :12]
        unrounded = dense(input_ids=tokens).logits
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together, padded, atol=1e-4, rtol=1e-4)
    assert (together - unrounded).abs().max() > 1e-2


@pytest.mark.parametrize(("method", "level", "options"), ROUNDED)
def test_lora_trains_on_a_layer_that_rounds_its_inputs(cells, method, level, options):
    from peft import LoraConfig, get_peft_model

    model, _ = palimpsest.load(cells / method)
    tokens = torch.randint(4, 48, (4, 12), generator=torch.Generator().manual_seed(1))
    before = model(input_ids=tokens).logits.detach()
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    torch.testing.assert_close(adapted(input_ids=tokens).logits, before)  # B = 0: the rounded layer below is called
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    losses = []
    for _ in range(5):
        loss = adapted(input_ids=tokens, labels=tokens).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    layer = adapted.base_model.model.model.layers[0].mlp.down_proj
    stored = read_layers(cells / method, read_record(cells / method))["model.layers.0.mlp.down_proj"]
    x = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    path = x @ layer.lora_A["default"].weight.T @ layer.lora_B["default"].weight.T * layer.scaling["default"]
    torch.testing.assert_close(layer(x), stored.linear(x) + path)


def test_the_record_says_that_inputs_are_rounded(cells):
    for method, *_ in LOADED:
        entries = read_record(cells / method)["layers"].values()
        rounded = {entry.get("activation_bits") for entry in entries}
        assert rounded == ({8} if method in ("smoothquant", "llm-int8") else {None})


# -- what the literature says of the methods --------------------------------------------------------------------------


def errors(case, method, level, inputs="X", **options):
    return output_error(
        case["W"], case[inputs], compress_weight(case["W"], case["X"], method, level, **options).dense()
    )


@pytest.mark.parametrize("level", ["4", "4g64", "3g64", "2g64"])
@pytest.mark.parametrize("inputs", ["X", "Xt"])
def test_looking_at_inputs_beats_rounding(case, level, inputs):
    rounding = errors(case, "rtn", level, inputs)
    assert errors(case, "awq", level, inputs) < errors(case, "awq", level, inputs, clipping=False) < rounding / 2
    assert errors(case, "gptq", level, inputs, act_order=True) < errors(case, "gptq", level, inputs) < rounding / 2


@pytest.mark.parametrize("level", ["4", "4g64", "3g64", "2g64", "2g16"])
def test_gptq_in_act_order_beats_awq_on_this_layer(case, level):
    """Without act-order it does not at every level: at "4", 3g64 and 2g64 AWQ's error is 4, 5 and 1 % below it."""
    assert errors(case, "gptq", level, act_order=True) < errors(case, "awq", level)


@pytest.mark.parametrize("level", ["4g64", "3g64", "2g64", "2g16"])
def test_hqq_beats_rounding_in_its_own_norm(case, level):
    def loss(method):
        return (compress_weight(case["W"], None, method, level, **PLAIN).dense() - case["W"]).abs().pow(0.7).sum()

    assert loss("hqq") < loss("rtn")


def test_nf4_beats_uniform_4_bits_on_weights_of_about_the_same_size(case):
    def loss(method, level):
        return (compress_weight(case["W"], None, method, level).dense() - case["W"]).square().sum()

    assert loss("nf4", "nf4") < loss("rtn", "4g64")


def test_pruning_and_rounding_at_once_beats_one_after_the_other(case):
    joint = compress_weight(case["W"], case["X"], "sparsegpt", "0.5+4g64").dense()
    pruned = compress_weight(case["W"], case["X"], "sparsegpt", "0.5").dense()
    after = compress_weight(pruned, None, "rtn", "4g64").dense()
    assert output_error(case["W"], case["X"], joint) < output_error(case["W"], case["X"], after)
