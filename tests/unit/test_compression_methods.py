"""Methods against plain float64 implementations of their papers, and at the edges."""

from __future__ import annotations

import pytest
import torch

from palimpsest import compress_weight, methods
from palimpsest.provenance import PalimpsestError

LEVELS = {
    "magnitude": ("0.5", "0.37", "2:4"),
    "wanda": ("0.5", "0.37", "2:4"),
    "sparsegpt": ("0.5", "0.37", "2:4", "0.37+3g16", "2:4+4"),
    "dsnot": ("0.5", "0.37", "2:4"),
    "alps": ("0.5", "0.37", "2:4"),
    "structured": ("0.5", "0.37"),
    "rtn": ("4", "3g16", "2"),
    "gptq": ("4", "3g16", "2"),
    "awq": ("4", "3g16", "2"),
    "hqq": ("4", "3g16", "2"),
    "nf4": ("nf4",),
    "llm-int8": ("int8",),
    "smoothquant": ("w8a8",),
    "svd": ("k0.8", "k0.3"),
    "svd-llm": ("k0.8", "k0.3"),
    "fwsvd": ("k0.8", "k0.3"),
    "asvd": ("k0.8", "k0.3"),
    "afm": ("k0.8", "k0.3"),
    "bolaco": ("k0.8", "k0.3"),
    "laser": ("r0.1", "k0.3"),
}
CASES = [(method, level) for method, some in LEVELS.items() for level in some]


@pytest.fixture(scope="module")
def layer():
    """W (40, 200) and X (600, 200): wider than a block of 128 columns, correlated inputs."""
    draws = torch.Generator().manual_seed(3)
    mixing = torch.randn(200, 200, generator=draws) / 14 + torch.eye(200)
    return torch.randn(40, 200, generator=draws) * 0.05, torch.randn(600, 200, generator=draws) @ mixing


def damped_inverse_factor(x, damping=0.01):
    """Upper triangular U with UᵀU = H⁻¹, by the textbook route."""
    hessian = 2 * x.T @ x / len(x)
    hessian += damping * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=x.dtype)
    return torch.linalg.cholesky(torch.linalg.inv(hessian), upper=True)


def output_error(w, x, compressed):
    difference = (compressed - w).double()
    return ((x.double() @ difference.T).norm() ** 2 / (x.double() @ w.double().T).norm() ** 2).item()


def plain_gptq(w, x, bits, group=None):
    w, u = w.double().clone(), damped_inverse_factor(x.double())
    columns, top, result = w.shape[1], 2**bits - 1, torch.empty_like(w)
    for j in range(columns):
        if j % (group or columns) == 0:
            part = w[:, j : j + (group or columns)]
            low, high = part.amin(1).clamp(max=0), part.amax(1).clamp(min=0)
            scale = (high - low) / top
            zero = torch.round(-low / scale)
        result[:, j] = scale * (torch.clamp(torch.round(w[:, j] / scale) + zero, 0, top) - zero)
        w[:, j + 1 :] -= torch.outer((w[:, j] - result[:, j]) / u[j, j], u[j, j + 1 :])
    return result


def plain_sparsegpt(w, x, sparsity):
    w, u = w.double().clone(), damped_inverse_factor(x.double())
    for start in range(0, w.shape[1], 128):
        block = slice(start, min(start + 128, w.shape[1]))
        score = w[:, block] ** 2 / u.diagonal()[block] ** 2
        dropped = score <= score.flatten().sort().values[round(score.numel() * sparsity) - 1]
        for j in range(block.start, block.stop):
            error = torch.where(dropped[:, j - start], w[:, j], 0) / u[j, j]
            w[:, j] = torch.where(dropped[:, j - start], 0, w[:, j])
            w[:, j + 1 :] -= torch.outer(error, u[j, j + 1 :])
    return w


def plain_svd_llm(w, x, rank):
    w, lower = w.double(), torch.linalg.cholesky(x.double().T @ x.double())
    u, s, v = torch.linalg.svd(w @ lower, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank] @ torch.linalg.inv(lower)


@pytest.mark.parametrize(("level", "bits", "group"), [("4", 4, None), ("3", 3, None), ("3g16", 3, 16), ("2g48", 2, 48)])
def test_gptq_is_the_papers_recursion(layer, level, bits, group):
    w, x = layer
    mine = compress_weight(w, x, "gptq", level, scale_bits=32).dense()
    reference = plain_gptq(w, x, bits, group)
    assert output_error(w, x, mine) == pytest.approx(output_error(w, x, reference), rel=0.01)
    assert (mine - reference).abs().gt(1e-4).float().mean() < 0.02  # a few weights fall on the other side of a tie


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_sparsegpt_is_the_papers_recursion(layer, sparsity):
    w, x = layer
    mine = compress_weight(w, x, "sparsegpt", str(sparsity)).dense()
    torch.testing.assert_close(mine.double(), plain_sparsegpt(w, x, sparsity), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("shape", [(40, 200), (200, 40), (64, 64)])
def test_svd_llm_is_the_truncation_of_the_whitened_matrix(layer, shape):
    x = layer[1][:, : shape[1]]
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine = compress_weight(w, x, "svd-llm", "k0.6")
    reference = plain_svd_llm(w, x, mine.rank)
    assert output_error(w, x, mine.dense()) == pytest.approx(output_error(w, x, reference), rel=1e-4)
    assert mine.rank == int(0.6 * shape[0] * shape[1] / sum(shape))


@pytest.mark.parametrize("shape", [(40, 200), (200, 40)])
def test_svd_is_the_best_approximation_of_the_weights(shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    mine = compress_weight(w, None, "svd", "k0.6")
    u, s, v = torch.linalg.svd(w, full_matrices=False)
    torch.testing.assert_close(
        mine.dense(), (u[:, : mine.rank] * s[: mine.rank]) @ v[: mine.rank], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(mine.left.norm(dim=0), mine.right.norm(dim=1), atol=1e-3, rtol=1e-3)  # √S on either side


@pytest.mark.parametrize(("group", "order"), [("4g16", True), ("4g48", True), ("4", True), ("4g48", False)])
@pytest.mark.parametrize("static", [True, False])
def test_gptq_stores_what_it_computed_in_any_order(layer, group, order, static):
    w, x = layer
    compressed = compress_weight(w, x, "gptq", group, act_order=order, static_groups=static)
    assert output_error(w, x, compressed.dense()) < output_error(w, x, compress_weight(w, x, "rtn", group).dense())
    assert compressed.codes.max() <= 15


@pytest.mark.parametrize(("method", "level"), CASES)
def test_achieved_is_asked(layer, method, level):
    w, x = layer
    achieved = compress_weight(w, x, method, level).achieved()
    zeros = (compress_weight(w, x, method, level).dense() == 0).float().mean().item()
    if "+" in level:  # kept weights may be rounded to zero
        pruning, grid = level.split("+")
        sparsity = 0.5 if ":" in pruning else float(pruning)
        assert achieved == {"sparsity": pytest.approx(sparsity, abs=1 / 200), "bits": int(grid[0])}
        assert achieved["sparsity"] <= zeros + 1e-6 and zeros < achieved["sparsity"] + 2 ** -int(grid[0])
    elif level in ("nf4", "w8a8"):
        assert achieved == {"bits": 4 if level == "nf4" else 8}
    elif level == "int8":  # outlier channels keep the 32 bits of these weights
        outliers = (x.abs().amax(0) > 6).float().mean().item()
        assert outliers > 0 and achieved["bits"] == pytest.approx(8 + 24 * outliers)
    elif level == "2:4":
        assert achieved == {"sparsity": 0.5} and zeros == 0.5
    elif "sparsity" in achieved:  # to one weight of what is compared: the layer, or each row of 200
        assert achieved["sparsity"] == pytest.approx(float(level), abs=1 / 200)
        assert zeros == pytest.approx(achieved["sparsity"], abs=1e-6)
    elif "bits" in achieved:
        compressed = compress_weight(w, x, method, level)
        assert achieved["bits"] == int(level[0])
        for columns in torch.arange(200).split(16 if "g" in level else 200):
            assert max(len(row.unique()) for row in compressed.matrix()[:, columns]) <= 2 ** int(level[0])
    else:
        assert achieved["rank"] == int(float(level[1:]) * (40 * 200 / 240 if level[0] == "k" else 40))
        assert torch.linalg.matrix_rank(compress_weight(w, x, method, level).dense()) == achieved["rank"]


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
def test_sparsity_zero_changes_nothing(layer, method):
    assert torch.equal(compress_weight(*layer, method, "0.0").dense(), layer[0])


@pytest.mark.parametrize("method", ["svd", "svd-llm", "fwsvd", "asvd", "afm", "bolaco", "laser"])
def test_keeping_all_parameters_changes_nothing(layer, method):
    assert torch.equal(compress_weight(*layer, method, "k1.0").dense(), layer[0])


def test_sparsity_counts_exactly_where_floats_would_not():
    assert compress_weight(torch.rand(10, 10), None, "magnitude", "0.29").achieved()["sparsity"] == pytest.approx(0.29)


def test_ties_do_not_change_the_count():
    assert (compress_weight(torch.ones(8, 16), None, "magnitude", "0.5").dense() == 0).sum() == 64
    assert (compress_weight(torch.ones(8, 16), torch.ones(4, 16), "wanda", "0.25").dense() == 0).sum(1).tolist() == [
        4
    ] * 8


@pytest.mark.parametrize(("method", "level"), CASES)
@pytest.mark.parametrize("kind", ["rank-deficient", "dead channels", "all zero", "one token"])
def test_poor_inputs_are_no_obstacle(layer, method, level, kind):
    w, x = layer[0], layer[1].clone()
    if kind == "rank-deficient":
        x = x[:, :7] @ torch.randn(7, 200, generator=torch.Generator().manual_seed(0))
    elif kind == "dead channels":
        x[:, ::3] = 0
    elif kind == "all zero":
        x = torch.zeros(5, 200)
    else:
        x = x[:1]
    compressed = compress_weight(w, x, method, level)
    assert torch.isfinite(compressed.dense()).all()
    if "sparsity" in compressed.achieved():
        zeros = (compressed.dense() == 0).float().mean()
        assert zeros >= compressed.achieved()["sparsity"] - 1e-6  # kept weights may be rounded to zero
        assert "bits" in compressed.achieved() or zeros <= compressed.achieved()["sparsity"] + 1e-6
    if method in ("gptq", "svd-llm", "sparsegpt") and "+" not in level and kind in ("rank-deficient", "dead channels"):
        free = {"gptq": "rtn", "svd-llm": "svd", "sparsegpt": "magnitude"}[method]
        assert output_error(w, x, compressed.dense()) < output_error(w, x, compress_weight(w, x, free, level).dense())


@pytest.mark.parametrize(("method", "level"), CASES)
@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (3, 5), (1, 1)])
def test_thin_matrices_and_groups_that_do_not_divide_work(method, level, shape):
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    compressed = compress_weight(w, torch.randn(50, shape[1]), method, level)
    assert compressed.dense().shape == shape and torch.isfinite(compressed.dense()).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(("method", "level"), [("magnitude", "0.5"), ("gptq", "8"), ("svd-llm", "k0.9")])
def test_values_keep_the_checkpoints_data_type(layer, method, level, dtype):
    w, x = layer[0].to(dtype), layer[1]
    dense = compress_weight(w, x, method, level).dense()
    assert dense.dtype == dtype
    if method == "magnitude":
        assert torch.equal(dense[dense != 0], w[dense != 0])


def test_rounding_is_exact_on_a_grid():
    codes = torch.randint(0, 16, (6, 32), generator=torch.Generator().manual_seed(0)).float()
    codes[:, 0], codes[:, 1] = 0, 15
    w = 0.125 * (codes - 5)
    assert torch.equal(compress_weight(w, None, "rtn", "4").dense(), w)


def test_rows_of_zeros_and_of_one_sign_round_well():
    w = torch.stack(
        [torch.zeros(16), torch.full((16,), 0.3), torch.linspace(0.1, 0.9, 16), -torch.linspace(0.1, 0.9, 16)]
    )
    for symmetric in (False, True):
        dense = compress_weight(w, None, "rtn", "8", symmetric=symmetric).dense()
        assert (dense[0] == 0).all() and (dense - w).abs().max() < 0.005


def test_tiny_weights_get_scales_of_32_bits_and_survive():
    w = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    tiny = compress_weight(w * 1e-9, None, "rtn", "4", scale_bits=16)
    assert tiny.metadata()["scales"] == "float32"
    assert compress_weight(w, None, "rtn", "4", scale_bits=16).metadata()["scales"] == "float16"
    assert output_error(w * 1e-9, torch.eye(64), tiny.dense()) < 0.02


def test_scales_take_the_precision_of_the_checkpoint():
    w = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    assert compress_weight(w, None, "rtn", "4").metadata()["scales"] == "float32"
    assert compress_weight(w.bfloat16(), None, "rtn", "4").metadata()["scales"] == "float16"


@pytest.mark.parametrize(("method", "level"), CASES)
def test_same_inputs_give_same_bytes(layer, method, level):
    first, second = (compress_weight(*layer, method, level).tensors() for _ in range(2))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_bad_input_is_named(layer):
    w, x = layer
    broken = x.clone()
    broken[3, 17] = float("nan")
    for arguments, message in [
        ((w, None, "gptq", "4"), "needs inputs"),
        ((w, x[:, :-1], "wanda", "0.5"), "199 .* 200 columns"),
        ((w, x[:0], "sparsegpt", "0.5"), "0 tokens"),
        ((w, broken, "wanda", "0.5"), "NaN.*first: 17"),
        ((w, broken, "gptq", "4"), "NaN.*first: 17"),
        ((torch.full_like(w, float("inf")), x, "rtn", "4"), "8000 of 8000 weights"),
        ((w[0], x, "rtn", "4"), "matrix"),
        ((w, x[0], "gptq", "4"), "tokens, in"),
        ((w, x, "gtpq", "4"), "Did you mean 'gptq'"),
        ((w, x, "gptq", "0.5"), "takes bits, e.g. '4'"),
        ((w, x, "svd", "2:4"), "takes kept share"),
    ]:
        with pytest.raises(PalimpsestError, match=message):
            compress_weight(*arguments)
    with pytest.raises(PalimpsestError, match="act_order=False"):
        compress_weight(w, x, "gptq", "4", actorder=True)
    with pytest.raises(PalimpsestError, match="write a bool"):
        compress_weight(w, x, "gptq", "4", act_order="yes")


def test_every_method_has_cases_here():
    assert set(methods()) == set(LEVELS)
