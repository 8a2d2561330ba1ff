"""Likeness of attention and activations: measures against their definitions, and readers that see what is there."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch
from transformers import AutoModelForCausalLM

from palimpsest.compression.cell import compress
from palimpsest.grid import Cell, Variant
from palimpsest.provenance import PalimpsestError
from palimpsest.similarity import study
from palimpsest.similarity.measures import cosine, estimate, jensen_shannon, linear_cka, means
from palimpsest.similarity.reading import Reader

TEXT = [1, 5, 9, 12, 7, 30, 21, 6]


def plain_cka(x, y):
    """‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖) of centred columns, as in Kornblith et al. 2019."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


def unbiased_hsic(x, y):
    """Song et al. 2012, equation 5, written out over pairs."""
    k, l = x @ x.T, y @ y.T
    n = len(k)
    for kernel in (k, l):
        np.fill_diagonal(kernel, 0)
    ones = np.ones(n)
    sums = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + sums - 2 / (n - 2) * ones @ k @ l @ ones) / (n * (n - 3))


def sides(examples, width=5, other=7, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(examples, width)) + 3
    return x, x[:, :1] @ generator.normal(size=(1, other)) + generator.normal(size=(examples, other))


def test_cka_is_its_definition_with_and_without_each_text():
    x, y = sides(40)
    texts = np.repeat(np.arange(10), 4)
    found = linear_cka(x, y, texts)
    assert found.shape == (11,)
    assert found[0] == pytest.approx(plain_cka(x, y), abs=1e-12)
    for text in range(10):
        assert found[1 + text] == pytest.approx(plain_cka(x[texts != text], y[texts != text]), abs=1e-12)


def test_cka_of_fewer_examples_than_features_is_unbiased():
    x, y = sides(12, width=5, other=40)
    expected = unbiased_hsic(x, y) / np.sqrt(unbiased_hsic(x, x) * unbiased_hsic(y, y))
    assert linear_cka(x, y)[0] == pytest.approx(expected, abs=1e-10)
    assert plain_cka(x, y) > expected + 0.1
    without = unbiased_hsic(x[1:], y[1:]) / np.sqrt(unbiased_hsic(x[1:], x[1:]) * unbiased_hsic(y[1:], y[1:]))
    assert linear_cka(x, y)[1] == pytest.approx(without, abs=1e-10)


def test_cka_of_noise_with_noise_is_zero_on_average_where_the_plain_one_is_not():
    generator = np.random.default_rng(0)
    pairs = [generator.normal(size=(2, 16, 64)) for _ in range(200)]
    assert abs(np.mean([linear_cka(*pair)[0] for pair in pairs])) < 0.02
    assert np.mean([plain_cka(*pair) for pair in pairs]) > 0.5


def test_cka_of_the_same_is_one_and_of_orthogonal_features_zero():
    x, _ = sides(40)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert linear_cka(x, 2 * x @ turned + 1)[0] == pytest.approx(1)
    few = np.random.default_rng(2).normal(size=(10, 20))
    assert linear_cka(few, few)[0] == pytest.approx(1)
    basis = np.linalg.qr(np.c_[np.ones(40), np.random.default_rng(3).normal(size=(40, 9))])[0][:, 1:]
    assert linear_cka(basis[:, :4], basis[:, 4:])[0] == pytest.approx(0, abs=1e-12)


def test_jensen_shannon_is_scipys_in_bits():
    from scipy.spatial.distance import jensenshannon

    generator = torch.Generator().manual_seed(0)
    p, q = (torch.rand(3, 6, 9, generator=generator).softmax(-1) for _ in range(2))
    expected = jensenshannon(p.double(), q.double(), base=2, axis=-1) ** 2
    assert jensen_shannon(p, q).numpy() == pytest.approx(expected.mean(-1), abs=1e-6)
    assert jensen_shannon(p, p).abs().max() == 0
    apart = torch.eye(2)
    assert jensen_shannon(apart[:1], apart[1:]).item() == pytest.approx(1)


def test_cosine_of_the_same_is_one_and_of_orthogonal_rows_zero():
    a = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    assert cosine(a, 2 * a).item() == pytest.approx(1)
    assert cosine(a, torch.tensor([[-2.0, 1.0, 5.0], [1.0, 1.0, 0.0]])).item() == pytest.approx(0, abs=1e-7)


def test_the_interval_of_a_mean_is_students():
    from scipy import stats

    values = np.random.default_rng(0).normal(size=25)
    found = estimate(means(values))
    low, high = stats.t.interval(0.95, 24, loc=values.mean(), scale=stats.sem(values))
    assert [found[key] for key in ("value", "low", "high", "n")] == pytest.approx([values.mean(), low, high, 25])


@pytest.fixture(scope="module")
def reference(tiny_model_folder):
    """Attention and hidden states as transformers gives them, in one pass over the text."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="eager").eval()
    with torch.no_grad():
        output = model(torch.tensor([TEXT]), output_attentions=True, output_hidden_states=True)
    return torch.stack(output.attentions)[:, 0], torch.stack(output.hidden_states[1:])[:, 0]


def test_a_reader_sees_what_the_model_gives(tiny_model_folder, reference):
    found = Reader(AutoModelForCausalLM.from_pretrained(tiny_model_folder)).read(TEXT)
    attention, states = reference
    torch.testing.assert_close(found.attention, attention[:, :, 1:])
    # The last hidden state that transformers gives has gone through the final norm.
    torch.testing.assert_close(found.activations[:-1], states[:-1, 1:])


def prompted(folder, tokens=3):
    from peft import PromptTuningConfig, get_peft_model

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens)).eval()


def test_a_prompt_is_left_out_and_the_attention_to_the_text_brought_back_to_one(tiny_model_folder):
    model = prompted(tiny_model_folder)
    base = model.get_base_model()
    embedded = torch.cat([model.get_prompt(1), base.get_input_embeddings()(torch.tensor([TEXT]))], 1)
    with torch.no_grad():
        output = base(inputs_embeds=embedded, output_attentions=True, output_hidden_states=True)
    to_text = torch.stack(output.attentions)[:, 0, :, 4:, 3:]
    assert to_text.sum(-1).max() < 1
    found = Reader(model).read(TEXT)
    torch.testing.assert_close(found.attention, to_text / to_text.sum(-1, keepdim=True))
    torch.testing.assert_close(found.activations[0], output.hidden_states[1][0, 4:])


def test_without_its_prompt_a_prompted_model_attends_as_the_plain_one_in_the_first_block_and_not_later(
    tiny_model_folder, reference
):
    """Rotary positions are relative, and before the first block no token has seen the prompt."""
    found, (attention, _) = Reader(prompted(tiny_model_folder)).read(TEXT), reference
    torch.testing.assert_close(found.attention[0], attention[0, :, 1:])
    assert not torch.allclose(found.attention[1], attention[1, :, 1:], atol=1e-3)


def dynamic(folder, **options):
    """A model that chooses between two soft prompts of different lengths."""
    from palimpsest.recovery.idp import dynamic_prompts

    base = AutoModelForCausalLM.from_pretrained(folder).eval()
    generator = torch.Generator().manual_seed(0)
    prompts = {f"prompt-{length}": torch.randn(length, 32, generator=generator) for length in (2, 5)}
    return dynamic_prompts(base, prompts, options)


def test_dynamic_prompts_are_read_after_the_chosen_one_or_as_the_mean_of_all(tiny_model_folder):
    always = [Reader(dynamic(tiny_model_folder, choose="always", prompt=number)) for number in (1, 2)]
    read = [reader.read(TEXT) for reader in always]
    assert not torch.allclose(*(reading.activations for reading in read), atol=0.01)
    for layer in (1, "mean"):
        chooser = Reader(dynamic(tiny_model_folder, layer=layer))
        found = chooser.read(TEXT)
        expected = read[chooser.forward.choices([tuple(TEXT)])[0].prompt]
        torch.testing.assert_close(found.attention, expected.attention)
        torch.testing.assert_close(found.activations, expected.activations)
    mean = Reader(dynamic(tiny_model_folder, choose="mean of all")).read(TEXT)
    torch.testing.assert_close(mean.attention, sum(reading.attention for reading in read) / 2)
    torch.testing.assert_close(mean.activations, sum(reading.activations for reading in read) / 2)


def test_a_prompt_that_leaves_no_room_is_refused(tiny_model_folder):
    with pytest.raises(PalimpsestError, match="prompt of 250 tokens leaves no room for texts of 8 in a context of 256"):
        Reader(prompted(tiny_model_folder, tokens=250)).read(TEXT)


def test_an_encoder_is_refused():
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    with pytest.raises(PalimpsestError, match="blocks of a bert are not known as a decoder's"):
        Reader(BertForMaskedLM(BertConfig(vocab_size=20, **sizes)))


class Wrapper:
    """Grid of a study with one compressed cell and its recoveries."""

    cells = (Cell("tiny", "dense", "dense", "full", 0), Cell("tiny", "rtn", "rtn", "3", 0))

    def variants(self):
        dense, cell = self.cells
        return [Variant(dense), Variant(dense, "again"), Variant(cell), Variant(cell, "dense-again"),
                Variant(cell, "cell-again"), Variant(cell, "half")]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory, tiny_model_folder):
    """What `compare` says of three recoveries: the dense model itself, the cell itself, and one in between."""
    results = tmp_path_factory.mktemp("results")
    (results / "models").mkdir()
    (results / "models" / "tiny").symlink_to(tiny_model_folder)
    dense, cell = Wrapper.cells
    compress(results / "models" / "tiny", results / dense.path, method="dense", level="full")
    compress(results / "models" / "tiny", results / cell.path, method="rtn", level="3")
    words = "the dog sees a cat and Alba likes the old red house in Lund".split()
    texts = [" ".join(np.random.default_rng(number).permutation(words)[:9]) for number in range(12)]
    load = {"again": dense, "dense-again": dense, "cell-again": cell}

    def reader(folder):
        from palimpsest import loading

        if (name := folder.name) in load:
            return Reader(loading.load(results / load[name].path)[0])
        model = loading.load(folder if name != "half" else results / cell.path)[0]
        if name == "half":
            other = loading.load(results / dense.path)[0]
            with torch.no_grad():
                for own, target in zip(model.parameters(), other.parameters(), strict=True):
                    own.lerp_(target, 0.5)
        return Reader(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "_reader", reader)
        patch.setattr(study, "prompts", lambda folder: texts)
        study.compare(results, Wrapper(), ["closed_book"], 12, results / "similarity.parquet")
    return pandas.read_parquet(results / "similarity.parquet")


def value(table, recovery, metric, layer="all", subset="all", label="rtn"):
    rows = table[(table.label == label) & (table.recovery == recovery) & (table.metric == metric)]
    rows = rows[(rows.layer == layer) & (rows.subset == subset)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_same_model_is_as_near_as_can_be(table):
    for measure, best in {
        "attention_cosine": 1,
        "attention_js": 0,
        "activation_cosine": 1,
        "activation_cka": 1,
    }.items():
        assert value(table, "dense-again", f"{measure}_to_dense").value == pytest.approx(best, abs=1e-6)
        assert value(table, "cell-again", f"{measure}_to_cell").value == pytest.approx(best, abs=1e-6)
        assert value(table, "again", f"{measure}_to_dense", label="dense").value == pytest.approx(best, abs=1e-6)


def test_what_changes_nothing_moves_nothing_and_the_dense_model_moves_all_the_way(table):
    for measure in ("attention_cosine", "attention_js", "activation_cosine", "activation_cka"):
        assert value(table, "cell-again", f"{measure}_towards_dense").value == pytest.approx(0, abs=1e-6)
        alone = value(table, "none", f"{measure}_to_dense").value
        whole = alone if measure == "attention_js" else 1 - alone
        assert value(table, "dense-again", f"{measure}_towards_dense").value == pytest.approx(whole, abs=1e-6)
        half = value(table, "half", f"{measure}_towards_dense")
        assert 0 < half.low < half.value < whole


def test_every_block_and_head_has_its_rows(table):
    rows = table[(table.recovery == "half") & (table.metric == "attention_js_to_dense")]
    heads = {f"head {number}" for number in range(4)}
    assert set(zip(rows.layer, rows.subset, strict=True)) == {("all", "all")} | {
        (layer, subset) for layer in ("1", "2") for subset in {"all"} | heads
    }
    of_heads = rows[(rows.layer == "2") & (rows.subset != "all")].value.mean()
    assert value(table, "half", "attention_js_to_dense", layer="2").value == pytest.approx(of_heads)
    assert (table.low <= table.value + 1e-9).all() and (table.value <= table.high + 1e-9).all() and set(table.n) == {12}
    assert set(table.columns) == set(study.COLUMNS) and set(table.scoring) == {"similarity"}


def test_too_few_texts_are_refused(tiny_tokenizer, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "prompts", lambda folder: ["the dog sees", "the", "a cat"])
    with pytest.raises(PalimpsestError, match="closed_book has 2 texts of at least three tokens, and 10 are needed"):
        study._tokens(tiny_tokenizer, tmp_path / "closed_book", 50, 64)
