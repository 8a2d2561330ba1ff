"""Low-rank methods against plain float64 implementations of their papers, Fisher information, and their cells."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compression_walk import families

import palimpsest
from palimpsest import compress_weight
from palimpsest.calibration import read_rows
from palimpsest.compression import registry, spectrum
from palimpsest.compression.allocation.allocate import allocate
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.cell import compress
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.fisher import fisher_information
from palimpsest.compression.layer import compress_layer, output_energy_fisher
from palimpsest.compression.methods import lowrank
from palimpsest.compression.statistics import Statistics
from palimpsest.levels import parse
from palimpsest.loading import TwoFactors
from palimpsest.provenance import PalimpsestError

METHODS = ("svd", "svd-llm", "fwsvd", "asvd", "afm", "bolaco", "laser")
SHAPES = [(24, 60), (60, 24), (32, 32)]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def case(shape, tokens=500):
    """W and X, of channels that differ in size, are correlated, and have means."""
    rows, columns = shape
    x = normal(tokens, columns, seed=1) @ (normal(columns, columns, seed=2) / columns**0.5 + torch.eye(columns))
    sizes = torch.logspace(0, 1.5, columns)
    return normal(rows, columns) * 0.1, (x + normal(columns, seed=3)) * sizes[normal(columns, seed=4).argsort()]


def close(found, wanted, tolerance=1e-4):
    torch.testing.assert_close(found.double(), wanted, atol=tolerance * wanted.abs().max().item(), rtol=0)


def scaled_truncation(w, scales, rank):
    """SVD of W diag(s), cut, and divided by s again."""
    u, s, v = torch.linalg.svd(w.double() * scales, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank] / scales


def mimicked(w, x, rank, groups=None):
    """W₁, W₂ and the bias of AFM, by the covariance of the outputs; pooled over `groups` of tokens."""
    y, w = x.double() @ w.double().T, w.double()
    parts = [y] if groups is None else [y[group] for group in groups]
    covariance = sum((part - part.mean(0)).T @ (part - part.mean(0)) for part in parts) / len(y)
    q = torch.linalg.eigh(covariance).eigenvectors[:, -rank:]
    return q.T @ w, q, y.mean(0) - q @ q.T @ y.mean(0)


# The methods


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_asvd_truncates_the_weights_scaled_by_the_magnitudes_of_their_inputs(shape, alpha):
    w, x = case(shape)
    mine = compress_weight(w, x, "asvd", "k0.5", alpha=alpha)
    close(mine.dense(), scaled_truncation(w, x.double().abs().mean(0) ** alpha, mine.rank))


def test_asvd_takes_channels_of_very_different_sizes():
    w, x = case((24, 60))
    x = x * torch.logspace(0, -4, 60)
    mine = compress_weight(w, x, "asvd", "k0.5", alpha=1.0)
    close(mine.dense(), scaled_truncation(w, x.double().abs().mean(0), mine.rank))


def test_asvd_with_alpha_0_is_svd():
    w, x = case((24, 60))
    x[:, ::4] = 0
    close(
        compress_weight(w, x, "asvd", "k0.5", alpha=0.0).dense(), compress_weight(w, x, "svd", "k0.5").dense().double()
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_fwsvd_truncates_the_weights_scaled_by_the_fisher_information_of_their_inputs(shape):
    w, x = case(shape)
    mine = compress_weight(w, x, "fwsvd", "k0.5")
    y = x.double() @ w.double().T
    gradients = y[:, :, None] * x.double()[:, None]  # of ½‖Wx‖², a token
    close(mine.dense(), scaled_truncation(w, gradients.square().mean(0).sum(0).sqrt(), mine.rank))


def test_the_fisher_information_of_one_matrix_is_that_of_half_its_squared_answer():
    w, x = case((5, 7), tokens=30)

    def loss(weight, token):
        return (weight @ token).square().sum() / 2

    gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(w.double(), x.double())
    close(output_energy_fisher(w, x), gradients.square().mean(0))


@pytest.mark.parametrize("method", ["fwsvd", "asvd"])
def test_channels_that_do_not_matter_only_decide_what_the_others_leave_open(method):
    """The limit of ever smaller scales; what the channels that matter lose is the least that they can lose."""
    w, x = case((24, 60))
    dead = torch.arange(60) % 3 == 0
    x[:, dead] = 0
    mine = compress_weight(w, x, method, "k0.5")
    nearly = compress_weight(w, torch.where(dead, 1e-9 * normal(*x.shape), x), method, "k0.5")
    close(mine.dense(), nearly.dense().double(), 1e-3)
    squares = x.double().abs().mean(0) if method == "asvd" else output_energy_fisher(w, x).double().sum(0)
    lost = ((mine.dense().double() - w) * squares.sqrt()).square().sum()
    least = torch.linalg.svdvals((w.double() * squares.sqrt())[:, ~dead])[mine.rank :].square().sum()
    assert lost.item() == pytest.approx(least.item(), rel=1e-6)


@pytest.mark.parametrize("method", ["fwsvd", "asvd"])
def test_where_no_channel_matters_it_is_svd(method):
    w = case((24, 60))[0]
    close(
        compress_weight(w, torch.zeros(5, 60), method, "k0.5").dense(),
        compress_weight(w, None, "svd", "k0.5").dense().double(),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_afm_projects_outputs_on_their_principal_components(shape):
    w, x = case(shape)
    mine = compress_weight(w, x, "afm", "k0.5")
    first, second, bias = mimicked(w, x, mine.rank)
    close(mine.dense(), second @ first)
    close(mine.bias, bias)
    y, answer = x.double() @ w.double().T, x.double() @ (second @ first).T + bias
    close(mine.linear(x), answer)
    # Nothing of that rank with a bias does better: what is lost are the variances of the other components.
    variances = torch.linalg.eigvalsh(torch.cov(y.T, correction=0))
    lost = (mine.linear(x.double()) - y).square().sum(1).mean()
    assert lost.item() == pytest.approx(variances[: -mine.rank].sum().item(), rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_afm_without_the_mean_is_the_optimum_of_svd_llm(shape):
    w, x = case(shape)
    mine = compress_weight(w, x, "afm", "k0.5", centred=False)
    assert mine.bias is None
    close(mine.dense(), compress_weight(w, x, "svd-llm", "k0.5").dense().double())


def test_the_bias_of_afm_is_worth_more_than_a_direction_where_outputs_have_a_mean():
    w, x = case((24, 60))
    x = x + 30 * normal(60, seed=9)
    y = x @ w.T
    lost = {c: (compress_weight(w, x, "afm", "k0.5", centred=c).linear(x) - y).square().sum() for c in (True, False)}
    assert lost[True] < lost[False]


def rows_of(x, lengths):
    """X (tokens, in) as right-padded rows of those lengths, and where they have tokens."""
    batch = torch.full((len(lengths), max(lengths), x.shape[1]), 99.0)
    for row, part in zip(batch, x.split(lengths), strict=True):
        row[: len(part)] = part
    return batch, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_bolaco_pools_the_covariances_of_groups_of_rows():
    w, x = case((24, 60), tokens=300)
    lengths = [50, 60, 30, 45, 35, 80]
    for number, row in enumerate(x.split(lengths)):
        row += 20 * normal(60, seed=20 + number)  # rows differ in what they are about
    stats = Statistics(60, needs=("gram", "sample_means"))
    batch, valid = rows_of(x, lengths)
    for some in (slice(0, 4), slice(4, 6)):  # groups do not end where batches do
        stats.add(batch[some], valid[some])
    mine = compress_layer("x", w, stats, "bolaco", parse("k0.5"), options={"rows_a_group": 3})
    first, second, bias = mimicked(w, x, mine.rank, groups=[slice(0, 140), slice(140, 300)])
    close(mine.dense(), second @ first)
    close(mine.bias, bias)
    afm = mimicked(w, x, mine.rank)
    assert (afm[1] @ afm[0] - mine.dense()).abs().max() > 0.01
    whole = compress_layer("x", w, stats, "bolaco", parse("k0.5"), options={"rows_a_group": 6})
    close(whole.dense(), afm[1] @ afm[0])
    close(whole.bias, afm[2])


@pytest.mark.parametrize(("multiple", "rank"), [(1, 22), (8, 16), (16, 16), (22, 22), (32, 22)])
def test_the_rank_of_bolaco_is_a_multiple_where_that_is_asked_and_possible(multiple, rank):
    w, x = case((60, 60))
    assert compress_weight(w, x, "bolaco", "k0.75", rank_multiple=multiple).rank == rank


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_laser_keeps_a_share_of_the_rank(shape, share):
    w = case(shape)[0]
    mine = compress_weight(w, None, "laser", f"r{share}")
    assert mine.rank == int(share * min(shape))
    close(mine.dense(), scaled_truncation(w, torch.ones(shape[1], dtype=torch.float64), mine.rank))


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    percent=st.integers(1, 99),
    kind=st.sampled_from(["k", "r"]),
)
def test_the_rank_is_the_one_that_is_asked(method, rows, columns, percent, kind):
    w, x = case((rows, columns), tokens=40)
    mine = compress_weight(w, x, method, f"{kind}{percent / 100}")
    asked = percent * (rows * columns if kind == "k" else min(rows, columns) * (rows + columns))
    assert mine.rank == mine.achieved()["rank"] == max(1, asked // (100 * (rows + columns)))
    assert mine.left.shape == (rows, mine.rank) and mine.right.shape == (mine.rank, columns)
    assert torch.isfinite(mine.dense()).all()


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**20), rank=st.integers(1, 9), shape=st.sampled_from([(16, 24), (24, 16)]))
def test_no_other_directions_of_that_rank_lose_less_than_svd_llm(seed, rank, shape):
    w, x = (normal(*shape, seed=seed), normal(80, shape[1], seed=seed + 1))
    mine = compress_weight(w, x, "svd-llm", f"k{rank * sum(shape) / (shape[0] * shape[1]) + 1e-6:.6f}")
    best = torch.linalg.svd(x.double() @ w.double().T, full_matrices=False).Vh[: mine.rank].T
    other = torch.linalg.qr(best + 0.1 * normal(shape[0], mine.rank, seed=seed + 2).double())[0]

    def lost(dense):
        return (x.double() @ (dense.double() - w).T).square().sum().item()

    assert mine.rank == rank
    assert lost(mine.dense()) <= lost(other @ other.T @ w.double())
    assert lost(mine.dense()) == pytest.approx(lost(best @ best.T @ w.double()), rel=1e-5)


# Directions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [3, spectrum.SMALL, spectrum.SMALL + 30])
def test_leading_eigenvectors_are_those_of_the_whole_matrix(size, dtype):
    factor = normal(size, size).double() * torch.logspace(0, -1.5, size)
    matrix = factor @ factor.T
    values, vectors = spectrum.leading_eigenvectors(matrix.to(dtype).triu(), size // 2)
    exact, precise = torch.linalg.eigvalsh(matrix).flip(0)[: size // 2], 1e-5 if dtype == torch.float32 else 1e-11
    assert values.dtype == torch.float64 and vectors.dtype == dtype and vectors.shape == (size, size // 2)
    torch.testing.assert_close(values, exact, rtol=0, atol=precise * exact[0].item())
    v = vectors.double()
    torch.testing.assert_close(v.T @ v, torch.eye(size // 2, dtype=torch.float64), rtol=0, atol=10 * precise)
    torch.testing.assert_close(matrix @ v, v * values, rtol=0, atol=precise * size**0.5 * exact[0].item())


WIDE = {"wide": (600, 700), "tall": (700, 600)}


def wide_case(shape, outlier=1.0):
    """Wider than what float64 does alone, with one channel that is so much larger than the others."""
    w, x = normal(*shape), normal(1500, shape[1], seed=1) * torch.logspace(0, -1.5, shape[1])
    x[:, 7] *= outlier
    return w, x


def least_lost(w, x, rank):
    return torch.linalg.svdvals(x.double() @ w.double().T)[rank:].square().sum().item()


@pytest.mark.parametrize("shape", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize(("outlier", "factorization"), [(1.0, "float32"), (200.0, "float64")])
def test_float32_is_left_where_it_would_lose_something(shape, outlier, factorization):
    w, x = wide_case(shape, outlier)
    stats = Statistics.of(x)
    mine = compress_layer("x", w, stats, "svd-llm", parse("k0.6"))
    lost = (x.double() @ (mine.dense().double() - w).T).square().sum().item()
    assert stats.record["factorization"] == factorization
    assert lost == pytest.approx(least_lost(w, x, mine.rank), rel=1e-5)


@pytest.mark.parametrize("shape", [*SHAPES, *WIDE.values()])
def test_inputs_of_few_dimensions_lose_nothing(shape):
    """The Gram matrix has no Cholesky factor, and all but seven of the directions are of no input."""
    x = normal(100, 7, seed=1) @ normal(7, shape[1], seed=2)
    w = normal(*shape)
    for method in ("svd-llm", "afm", "bolaco"):
        mine = compress_weight(w, x, method, "k0.8")
        assert (mine.linear(x) - x @ w.T).square().sum() < 1e-9 * (x @ w.T).square().sum()


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12])
@pytest.mark.parametrize("shape", [SHAPES[0], WIDE["tall"]])
def test_the_size_of_weights_and_inputs_does_not_matter(shape, scale):
    w, x = wide_case(shape)
    wanted, found = (compress_weight(w * s, x / max(s, 1e-15), "svd-llm", "k0.5").dense() for s in (1.0, scale))
    close(found.double() / scale, wanted.double())


def test_levels_of_a_sweep_are_those_of_single_runs():
    w, x = case((24, 60))
    for method in METHODS:
        stats = Statistics(60, needs=registry.declaration(method).needs)
        stats.add(x)
        stats.fisher = output_energy_fisher(w, x)
        for level in ("k0.2", "k0.9", "r0.9", "r0.3"):
            alone = compress_weight(w, x, method, level)
            swept = compress_layer("x", w, stats, method, parse(level))
            assert torch.equal(swept.left, alone.left) and torch.equal(swept.right, alone.right)


def test_the_kept_shares_of_a_sweep_share_one_factorization(monkeypatch):
    calls, directions = [], lowrank.answer_directions
    monkeypatch.setattr(lowrank, "answer_directions", lambda *given: calls.append(given) or directions(*given))
    w, x = case((24, 60))
    stats = Statistics.of(x)
    for level in ("k0.9", "k0.2", "k0.6", "r0.5"):
        compress_layer("x", w, stats, "svd-llm", parse(level))
    assert len(calls) == 1
    compress_layer("x", w, stats, "svd-llm", parse("r0.9"))  # a rank that no kept share has
    assert len(calls) == 2


# Fisher information


def saved(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Checkpoint(folder)


def small_model(family, kind=None):
    import transformers

    torch.manual_seed(0)
    config = families()[family]
    config._attn_implementation = "eager"  # vmap knows no other
    model = getattr(transformers, kind)(config) if kind else transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def rows(tiny_calibration_folder):
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    return rows[:6], lengths[:6]


@pytest.fixture
def masking_tokenizer(tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.add_special_tokens({"mask_token": "who"})  # a word of the vocabulary
    return tokenizer


def information(model, losses):
    """E over the losses of the squared gradients of all weights, by torch.func."""
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    squares = [torch.func.grad(loss)(weights) for loss in losses]
    return {name: torch.stack([found[name].square() for found in squares]).double().mean(0) for name in weights}


def call(model, weights, tokens):
    return torch.func.functional_call(model, weights, (tokens[None],))


def same_information(checkpoint, found, wanted):
    transposed = checkpoint.family.transposed
    names = {checkpoint.layer_name(n, layer) for n in (0, 1) for layer in checkpoint.family.layers}
    assert found.keys() == names
    for name in names:
        square = wanted[f"{name}.weight"]
        close(found[name], square.T if transposed else square)
        assert found[name].shape == checkpoint.matrix_shape(name) and found[name].max() > 0


@pytest.mark.parametrize("family", ["llama", "gpt2", "phi"])
def test_the_information_of_a_decoder_is_the_mean_squared_gradient_of_the_rows_losses(
    tmp_path, family, rows, tiny_tokenizer
):
    model = small_model(family)
    checkpoint = saved(tmp_path, model, tiny_tokenizer)

    def loss_of(tokens):
        def loss(weights):
            logs = call(model, weights, tokens).logits[0, :-1].log_softmax(-1)
            return -logs.gather(1, tokens[1:, None]).mean()

        return loss

    losses = [loss_of(row[:length]) for row, length in zip(*rows, strict=True)]
    same_information(checkpoint, fisher_information(checkpoint, *rows), information(model, losses))


def test_padding_and_rows_without_a_next_token_have_no_part_in_the_information(tmp_path, rows, tiny_tokenizer):
    checkpoint = saved(tmp_path, small_model("llama"), tiny_tokenizer)
    tokens, lengths = rows
    found = fisher_information(checkpoint, tokens, lengths)
    padding = torch.arange(tokens.shape[1]) >= lengths[:, None]
    longer = torch.cat([tokens.masked_fill(padding, 9), tokens[:1]])
    again = fisher_information(checkpoint, longer, torch.cat([lengths, torch.tensor([1])]))
    assert all(torch.equal(found[name], again[name]) for name in found)
    with pytest.raises(PalimpsestError, match="no calibration row has a loss"):
        fisher_information(checkpoint, tokens, torch.ones_like(lengths))


@pytest.mark.parametrize(
    ("family", "kind"),
    [("bert", "BertForMaskedLM"), ("bert", "BertForPreTraining"), ("roberta", "RobertaForMaskedLM")],
)
def test_the_information_of_a_masked_language_model_is_of_tokens_that_are_hidden_from_it(
    tmp_path, monkeypatch, family, kind, rows, masking_tokenizer
):
    import transformers

    model, cls, mask = small_model(family, kind), getattr(transformers, kind), masking_tokenizer.mask_token_id
    checkpoint, shown, forward = saved(tmp_path, model, masking_tokenizer), [], cls.forward

    @functools.wraps(forward)
    def watched(self, input_ids=None, **others):
        shown.append(input_ids[0])
        return forward(self, input_ids=input_ids, **others)

    monkeypatch.setattr(cls, "forward", watched)
    found = fisher_information(checkpoint, *rows)
    monkeypatch.undo()

    def loss_of(tokens, shown):
        hidden = (tokens != shown).nonzero().flatten()
        words = sum(token not in masking_tokenizer.all_special_ids for token in tokens.tolist())
        assert len(hidden) == max(1, round(0.15 * words)) and (shown[hidden] == mask).all()

        def loss(weights):
            answer = call(model, weights, shown)
            logs = (answer["logits"] if "logits" in answer else answer["prediction_logits"])[0].log_softmax(-1)
            return -sum(logs[place, tokens[place]] for place in hidden) / len(hidden)

        return loss

    losses = [loss_of(row[:length], seen) for row, length, seen in zip(*rows, shown, strict=True)]
    same_information(checkpoint, found, information(model, losses))
    again = fisher_information(checkpoint, *rows)
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_the_information_of_other_encoders_is_of_what_they_answer(tmp_path, rows, tiny_tokenizer):
    for kind, loss in {
        "BertModel": lambda answer: answer.last_hidden_state[0].square().sum(1).mean() / 2,
        "BertForTokenClassification": lambda answer: -answer.logits[0].log_softmax(-1).amax(1).mean(),
    }.items():
        model = small_model("bert", kind)
        checkpoint = saved(tmp_path / kind, model, tiny_tokenizer)
        losses = [
            lambda weights, tokens=row[:length], loss=loss, model=model: loss(call(model, weights, tokens))
            for row, length in zip(*rows, strict=True)
        ]
        same_information(checkpoint, fisher_information(checkpoint, *rows), information(model, losses))


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_information_of_a_classifier_is_expected_over_the_classes_that_it_finds_likely(
    tmp_path, family, rows, tiny_tokenizer
):
    model = small_model(family, f"{family.capitalize()}ForSequenceClassification")
    wanted = {}
    for row, length in zip(*rows, strict=True):
        tokens = row[:length]
        likely = model(tokens[None]).logits[0].softmax(-1).tolist()
        for number, share in enumerate(likely):
            found = information(model, [lambda w, n=number, t=tokens: -call(model, w, t).logits[0].log_softmax(-1)[n]])
            for name, square in found.items():
                wanted[name] = wanted.get(name, 0) + share * square / len(rows[0])
    checkpoint = saved(tmp_path, model, tiny_tokenizer)
    same_information(checkpoint, fisher_information(checkpoint, *rows), wanted)


def test_an_encoder_whose_loss_is_not_known_is_named(tmp_path, rows, tiny_tokenizer):
    for kind, message in {
        "BertForMaskedLM": "no mask token",
        "BertForQuestionAnswering": "no loss that is known",
    }.items():
        checkpoint = saved(tmp_path / kind, small_model("bert", kind), tiny_tokenizer)
        with pytest.raises(PalimpsestError, match=f"{kind}.*{message}|{message}.*{kind}"):
            fisher_information(checkpoint, *rows)


# Cells


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "gpt_neox"])
def test_cells_of_fwsvd_use_the_information_of_the_whole_model(
    tmp_path, family, tiny_tokenizer, tiny_calibration_folder
):
    checkpoint = saved(tmp_path / "model", small_model(family), tiny_tokenizer)
    compress(
        checkpoint.folder, tmp_path / "cell", method="fwsvd", level="k0.5", calibration_folder=tiny_calibration_folder
    )
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    found = fisher_information(checkpoint, rows, lengths)
    layers = read_layers(tmp_path / "cell", read_record(tmp_path / "cell"))
    assert layers.keys() == found.keys()
    for name, layer in layers.items():
        scales = found[name].double().sum(0).sqrt()
        close(layer.dense(), scaled_truncation(checkpoint.matrix(name), scales, layer.rank), 1e-3)


@pytest.mark.parametrize("method", ["afm", "bolaco"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cells_of_afm_have_its_bias_beside_the_layers_own(
    tmp_path, family, method, dtype, tiny_tokenizer, tiny_calibration_folder
):
    checkpoint = saved(tmp_path / "model", small_model(family).to(dtype), tiny_tokenizer)
    cell = tmp_path / "cell"
    compress(checkpoint.folder, cell, method=method, level="k0.5", calibration_folder=tiny_calibration_folder)
    record = read_record(cell)
    dense, whole, factors = (
        palimpsest.load(checkpoint.folder)[0],
        palimpsest.load(cell)[0],
        palimpsest.load(cell, keep_factors=True)[0],
    )
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    valid = torch.arange(rows.shape[1]) < lengths[:, None]
    for name, compressed in read_layers(cell, record).items():
        assert compressed.bias is not None and compressed.dtype == compressed.bias.dtype == dtype
        layer, two, before = whole.get_submodule(name), factors.get_submodule(name), dense.get_submodule(name)
        assert isinstance(two, TwoFactors)
        own = torch.zeros_like(compressed.bias) if before.bias is None else before.bias
        assert torch.equal(layer.bias, own + compressed.bias) and torch.equal(two.left.bias, layer.bias)
        bias_bytes = compressed.bias.nbytes
        assert record["layers"][name]["nbytes"] == compressed.left.nbytes + compressed.right.nbytes + bias_bytes
    # The errors in the record are those of the whole answers, on the inputs that the dense model gives.
    dense, seen = dense.float(), {}
    for name in record["layers"]:
        dense.get_submodule(name).register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
    with torch.inference_mode():
        dense(input_ids=rows)
    for name, compressed in read_layers(cell, record).items():
        x, w = seen[name].reshape(*rows.shape, -1)[valid].double(), checkpoint.matrix(name).double()
        lost = (compressed.linear(x) - x @ w.T).square().sum() / (x @ w.T).square().sum()
        assert record["layers"][name]["error"] == pytest.approx(lost.item(), rel=1e-3)
    with torch.inference_mode():
        answers = [model.float()(input_ids=rows).logits for model in (whole, factors)]
    tolerance = 1e-4 if dtype == torch.float32 else 0.1  # the product of two factors is rounded when it is made
    torch.testing.assert_close(*answers, atol=tolerance, rtol=tolerance)


def test_laser_is_one_matrix(tmp_path, tiny_model_folder):
    with pytest.raises(PalimpsestError, match=r"laser: \{allocation: laser, levels: \[r0.5\]\}"):
        compress(tiny_model_folder, tmp_path / "cell", method="laser", level="r0.5")
    allocate(
        tiny_model_folder,
        tmp_path / "one",
        method="only",
        level="r0.5",
        options={"modules": ["up_proj"], "blocks": [1]},
    )
    compress(tiny_model_folder, tmp_path / "cell", method="laser", level="r0.5", allocation_folder=tmp_path / "one")
    layers = read_layers(tmp_path / "cell", read_record(tmp_path / "cell"))
    assert list(layers) == ["model.layers.1.mlp.up_proj"] and layers["model.layers.1.mlp.up_proj"].rank == 16
    dense, model = (palimpsest.load(folder)[0] for folder in (tiny_model_folder, tmp_path / "cell"))
    changed = {
        name for (name, a), b in zip(dense.named_parameters(), model.parameters(), strict=True) if not torch.equal(a, b)
    }
    assert changed == {"model.layers.1.mlp.up_proj.weight"}


def test_the_allocation_that_is_part_of_a_method_exists():
    from palimpsest.compression.allocation import registry as allocations

    parts = {name: found.allocation for name, found in registry.declared().items() if found.allocation}
    assert parts == {"laser": "laser"} and set(parts.values()) <= allocations.declared().keys()
