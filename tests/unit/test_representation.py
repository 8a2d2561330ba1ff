"""Representation change: what is read of a model, CKA of all layers, spectra and the logit lens."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import torch

from palimpsest import loading
from palimpsest.compression.cell import compress
from palimpsest.compression.families import FAMILIES
from palimpsest.provenance import PalimpsestError
from palimpsest.representation import batches as batches_
from palimpsest.representation import spectra, study
from palimpsest.representation.batches import MASKED, NOTHING, batches, masked_batches, token_rows
from palimpsest.representation.lens import Looking, lens_of
from palimpsest.representation.reading import Watched, matrix_names
from palimpsest.representation.similar_layers import Examples, cka_map, permuted
from palimpsest.representation.study import Source
from palimpsest.similarity.measures import linear_cka, linear_cka_map

WORDS = "the dog sees a cat and Alba likes old red house in Lund"
SMALL = {"vocab_size": 70, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
         "max_position_embeddings": 64, "initializer_range": 0.2, "pad_token_id": 0}  # fmt: skip
DECODERS = {
    "llama": {}, "qwen2": {"num_key_value_heads": 4}, "mistral": {"num_key_value_heads": 2}, "phi": {}, "phi3": {},
    "gpt_neox": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": True},
    "gemma": {"head_dim": 8, "num_key_value_heads": 4},
    "gemma2": {"head_dim": 8, "num_key_value_heads": 4, "final_logit_softcapping": 0.7},
}  # fmt: skip
ENCODERS = ("BertForMaskedLM", "RobertaForMaskedLM")


def decoder(kind):
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **(SMALL | DECODERS[kind]))
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def encoder(name, **changes):
    import transformers

    torch.manual_seed(0)
    found = getattr(transformers, name)
    return found(found.config_class(**(SMALL | changes))).eval()


def rows(count=12, seed=0, most=16):
    generator = np.random.default_rng(seed)
    return [[1, *generator.integers(4, 48, generator.integers(3, most))] for _ in range(count)]


@pytest.fixture(scope="module")
def texts():
    generator = np.random.default_rng(0)
    return [" ".join(generator.permutation(WORDS.split())[: 6 + number % 5]) for number in range(24)]


@pytest.fixture(scope="module")
def model(tmp_path_factory, make_tiny_model):
    """Weights of another seed than those of its random twin."""
    return make_tiny_model(tmp_path_factory.mktemp("models") / "other", seed=5)


@pytest.fixture(scope="module")
def cell(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("cells") / "svd"
    compress(model, folder, method="svd", level="k0.5")
    return folder


def by_text(batch, flat):
    """The part of each text, by its number."""
    return {number: flat[..., batch.text == number, :] for number in batch.numbers.tolist()}


def test_states_are_those_between_blocks_whatever_the_padding(model):
    watched = Watched(loading.load(model)[0])
    texts = rows()
    read = {}
    for batch in batches(texts):
        read |= by_text(batch, watched.states(batch))
    for number, text in enumerate(texts):
        with torch.no_grad():
            output = watched.model(torch.tensor([text]), output_hidden_states=True)
        expected = torch.stack(output.hidden_states)[:, 0, 1:]
        # The last one that transformers gives has gone through the final norm.
        torch.testing.assert_close(read[number][:-1], expected[:-1], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(watched.norm(read[number][-1]), expected[-1], atol=1e-5, rtol=1e-4)


def test_an_encoders_states_are_its_hidden_states_and_its_padding_is_masked():
    watched, texts = Watched(encoder("BertForMaskedLM")), rows(5)
    (batch,) = batches(texts)
    for number, states in by_text(batch, watched.states(batch)).items():
        with torch.no_grad():
            output = watched.model(torch.tensor([texts[number]]), output_hidden_states=True)
        expected = torch.stack(output.hidden_states)[:, 0, 1:]
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", DECODERS)
def test_the_lens_at_the_last_layer_is_the_models_own_prediction(kind):
    watched = Watched(decoder(kind))
    (batch,) = batches(rows(4))
    lens = lens_of(watched)(watched.states(batch)[-1])
    with torch.no_grad():
        logits = watched.model(input_ids=batch.tokens, attention_mask=batch.mask.long()).logits
    torch.testing.assert_close(lens, logits[batch.kept], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_lens_of_an_encoder_is_its_head_of_masked_words(name):
    watched = Watched(encoder(name))
    (batch,) = batches(rows(4))
    lens = lens_of(watched)(watched.states(batch)[-1])
    with torch.no_grad():
        logits = watched.model(input_ids=batch.tokens, attention_mask=batch.mask.long()).logits
    torch.testing.assert_close(lens, logits[batch.kept], atol=1e-5, rtol=1e-4)
    assert lens_of(Watched(encoder(name.replace("ForMaskedLM", "Model")))) is None


def test_the_lens_counts_what_the_last_layers_say(model):
    dense, other = (Watched(loading.load(model)[0]), Watched(loading.random_twin(model, 3)[0]))
    texts, looking = rows(), Looking(lens_of(other), lens_of(dense))
    for batch in batches(texts):
        looking.add(batch, other.states(batch), dense.states(batch))
    found = looking.statistics()
    assert found["lens_kl"].shape == (3, len(texts) + 1)
    assert found["lens_kl"][-1, 0] == pytest.approx(0, abs=1e-6) and found["lens_top1"][-1, 0] == 1
    losses, agreed = [], []
    for text in texts:
        with torch.no_grad():
            said, meant = (watched.model(torch.tensor([text])).logits[0, 1:-1] for watched in (other, dense))
        losses.append(torch.nn.functional.cross_entropy(said, torch.tensor(text[2:])).item())
        agreed.append((said.argmax(-1) == meant.argmax(-1)).float().mean().item())
    assert found["lens_cross_entropy"][-1, 0] == pytest.approx(np.mean(losses), abs=1e-4)
    assert found["lens_top1_dense"][-1, 0] == pytest.approx(np.mean(agreed), abs=1e-6)


def test_a_decoders_target_is_the_next_token_of_the_same_text():
    for batch in batches([[1, 7, 8, 9], [1, 5, 6]]):
        assert {number: found.tolist() for number, found in by_text(batch, batch.targets[:, None]).items()} == {
            0: [[8], [9], [NOTHING]], 1: [[6], [NOTHING]],
        }  # fmt: skip


def test_an_encoder_reads_every_seventh_own_token_masked_and_is_asked_for_it(tiny_tokenizer):
    tiny_tokenizer.mask_token = "<unk>"
    texts = rows(9)
    originals = {number: torch.tensor(text) for number, text in enumerate(texts)}
    own = masked = 0
    for batch in masked_batches(texts, tiny_tokenizer):
        assert (batch.tokens[batch.kept] == tiny_tokenizer.mask_token_id).all()
        for row, number in enumerate(batch.numbers.tolist()):
            text, places = originals[number], batch.kept[row, : len(originals[number])]
            assert (batch.wanted[row, : len(text)][places] == text[places]).all()
            assert (batch.tokens[row, : len(text)][~places] == text[~places]).all()
            own, masked = own + int((text > 3).sum()), masked + int(places.sum())
    assert masked == own // MASKED
    tiny_tokenizer.mask_token = None
    with pytest.raises(PalimpsestError, match="no mask token predicts no masked words"):
        list(masked_batches(texts, tiny_tokenizer))


def test_texts_are_spread_over_the_rows_cut_to_the_context_and_too_few_are_refused(tiny_tokenizer, texts):
    found = token_rows(tiny_tokenizer, texts, 12, 5, "task")
    whole = tiny_tokenizer(texts)["input_ids"]
    assert found == [row[:5] for row in whole[::2]]
    with pytest.raises(PalimpsestError, match=r"task has 1 texts of at least 3 tokens, and 10 are needed"):
        token_rows(tiny_tokenizer, [*["the"] * 50, "the dog sees"], 12, 64, "task")


def test_the_map_of_cka_is_that_of_each_pair_of_layers():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(3, 40, 6))
    y = np.concatenate([x[1:] + generator.normal(size=(2, 40, 6)), generator.normal(size=(1, 40, 6))])
    texts = np.repeat(np.arange(10), 4)
    for unbiased in (True, False):
        found = linear_cka_map(x, y, texts, unbiased)
        assert found.shape == (3, 3, 11)
        for row in range(3):
            for column in range(3):
                expected = linear_cka(x[row], y[column], texts, unbiased)
                np.testing.assert_allclose(found[row, column], expected, atol=1e-12)
    # Leaving a text out is the same as never having read it.
    kept = texts != 9
    np.testing.assert_allclose(
        linear_cka_map(x, y, texts)[..., 10], linear_cka_map(x[:, kept], y[:, kept], texts[kept])[..., 0], atol=1e-12
    )


def test_cka_of_a_model_with_itself_is_one_and_with_permuted_examples_zero_within_its_interval(model):
    from palimpsest.similarity.measures import estimate

    watched, examples = Watched(loading.load(model)[0]), Examples()
    for batch in batches(rows(60)):
        examples.add(batch, watched.states(batch))
    assert examples.states().shape[1] == len(examples.texts())
    assert np.diagonal(cka_map(examples, examples)[..., 0]) == pytest.approx(1)
    shuffled = [estimate(permuted(examples, examples, seed)[layer, layer]) for layer in range(3) for seed in range(10)]
    assert np.mean([each["low"] <= 0 <= each["high"] for each in shuffled]) >= 0.9
    assert abs(np.mean([each["value"] for each in shuffled])) < 0.01


def test_singular_values_are_numpys():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 12, generator=generator)
    expected = np.linalg.svd(weight.numpy().astype(np.float64), compute_uv=False)
    np.testing.assert_allclose(spectra.singular_values(weight), expected, rtol=1e-12)
    np.testing.assert_allclose(spectra.singular_values(weight.T), expected, rtol=1e-12)


def test_activations_have_the_singular_values_of_the_centred_matrix_whole_however_they_came():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(90, 8, generator=generator) @ torch.randn(8, 8, generator=generator) + 1000
    found = spectra.Activations()
    for part in states.split([1, 60, 29]):
        found.add(part)
    centred = states.double() - states.double().mean(0)
    np.testing.assert_allclose(found.singular_values(), np.linalg.svd(centred.numpy(), compute_uv=False), rtol=1e-6)
    few = spectra.Activations()
    few.add(states[:5])
    assert few.full_rank == len(few.singular_values()) == 4


def test_ranks_of_spectra_that_are_known():
    flat, one = np.ones(16), np.array([3.0, 0, 0, 0])
    assert spectra.effective_rank(flat) == pytest.approx(16) and spectra.effective_rank(one) == pytest.approx(1)
    assert spectra.effective_rank(np.array([0.5, 0.25, 0.25])) == pytest.approx(2**1.5)
    assert spectra.energy_rank(np.ones(10), 0.9) == 9 and spectra.energy_rank(one, 0.99) == 1
    assert spectra.energy_rank(np.sqrt([0.5, 0.4, 0.09, 0.01]), 0.9) == 2
    places, values = zip(*spectra.curve(np.array([4.0, 2.0, 1.0])), strict=True)
    assert (places[0], places[-1], values[0], values[-1]) == (0, 1, 1, 0.25) and len(values) == spectra.POINTS


def test_matrices_that_are_called_alike_keep_their_whole_name():
    assert list(matrix_names(FAMILIES["llama"]).values())[:4] == ["q_proj", "k_proj", "v_proj", "o_proj"]
    names = set(matrix_names(FAMILIES["bert"]).values())
    assert names == {"query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"}


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gpt_neox"])
def test_every_matrix_is_watched_in_every_family(kind):
    watched = Watched(decoder(kind))
    (batch,) = batches(rows(4))
    seen = {}
    with watched.watching(batch, lambda place, x: seen.setdefault(place, [x]), lambda place, y: seen[place].append(y)):
        watched.states(batch)
    assert list(seen) == watched.matrices and len(seen) == 2 * len(FAMILIES[kind].layers)
    for place, (x, y) in seen.items():
        layer = watched.model.get_submodule(place.path)
        assert len(x) == len(y) == int(batch.kept.sum())
        with torch.inference_mode():
            torch.testing.assert_close(layer(x), y, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def tables(tmp_path_factory, model, cell, texts):
    """What is said of the dense model and of a cell, and the points of their spectra."""
    folder, found = tmp_path_factory.mktemp("representation"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "read_texts", lambda folder: texts)
        for label, level, where in (("dense", "full", None), ("svd", "k0.5", cell)):
            who = {"model": "tiny", "label": label, "method": label, "level": level, "seed": 0, "recovery": "none"}
            paths = folder / f"{label}.parquet", folder / f"{label}-points.parquet"
            study.represent(model, where, who, [Source(folder / "perplexity", 24)], *paths)
            found[label] = tuple(map(pandas.read_parquet, paths))
    return found


def one(table, **named):
    for column, value in named.items():
        table = table[table[column] == value]
    assert len(table) == 1, named
    return table.iloc[0]


def test_a_cell_has_a_map_a_lens_and_ranks_and_the_dense_model_a_random_twin(tables):
    dense, _ = tables["dense"]
    assert set(dense.label) == {"dense", "random"} and set(tables["svd"][0].label) == {"svd"}
    assert set(dense.scoring) == {"cka", "weight", "input", "output", "logit_lens"}
    for layer in "012":
        same = {"scoring": "cka", "subset": f"dense layer {layer}", "layer": layer}
        assert one(dense, label="dense", metric="cka", **same).value == pytest.approx(1)
        assert one(dense, label="random", metric="cka", **same).value < 0.9
        assert (one(tables["svd"][0], metric="cka", **same).value > 0.999) == (layer == "0")  # embeddings stay
    assert (dense.dropna().low <= dense.dropna().value + 1e-9).all() and not dense.value.isna().any()


def test_a_low_rank_cells_weights_have_the_rank_that_was_kept(tables):
    table, points = tables["svd"]
    kept = {"q_proj": int(0.5 * 32 * 32 / 64), "down_proj": int(0.5 * 32 * 48 / 80)}
    for matrix, rank in kept.items():
        found = one(table, scoring="weight", layer="1", subset=matrix, metric="effective_rank")
        assert rank / 2 < found.value <= rank + 1e-3 and found.n == 32
        share = one(table, scoring="weight", layer="1", subset=matrix, metric="effective_rank_share")
        assert share.value == pytest.approx(found.value / 32)
        curve = points[(points.scoring == "weight") & (points.layer == "1") & (points["subset"] == matrix)]
        beyond = curve[curve.place > rank / 31]
        assert beyond.value.max() < 1e-5 < curve[curve.place < (rank - 1) / 31].value.min()


def test_what_comes_out_of_a_matrix_has_no_more_directions_than_go_in(tables):
    table, _ = tables["svd"]
    for matrix, rank in (("q_proj", 8), ("up_proj", 9)):
        out = one(table, scoring="output", layer="2", subset=matrix, metric="energy_rank_99")
        assert out.value <= rank and out.n == 32
    shared = table[(table.scoring == "input") & (table.layer == "1") & (table.metric == "effective_rank")]
    assert shared[shared["subset"].isin(["q_proj", "k_proj", "v_proj"])].value.nunique() == 1
    assert shared.value.nunique() == 4


def test_the_same_texts_give_the_same_rows(tables, tmp_path, model, cell, texts, monkeypatch):
    monkeypatch.setattr(study, "read_texts", lambda folder: texts)
    monkeypatch.setattr(batches_, "TOKENS_A_BATCH", 40)
    who = {"model": "tiny", "label": "svd", "method": "svd", "level": "k0.5", "seed": 0, "recovery": "none"}
    study.represent(model, cell, who, [Source(tmp_path / "perplexity", 24)], tmp_path / "a", tmp_path / "b")
    again = pandas.read_parquet(tmp_path / "a")
    pandas.testing.assert_frame_equal(again, tables["svd"][0], rtol=1e-3, atol=1e-5)


def test_an_encoder_is_compared_too(tmp_path, tiny_tokenizer, texts, monkeypatch):
    monkeypatch.setattr(study, "read_texts", lambda folder: texts)
    tiny_tokenizer.mask_token = "<unk>"
    encoder("BertForMaskedLM").save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    compress(tmp_path / "model", tmp_path / "cell", method="svd", level="k0.5")
    who = {"model": "tiny", "label": "svd", "method": "svd", "level": "k0.5", "seed": 0, "recovery": "none"}
    source = [Source(tmp_path / "perplexity", 24)]
    study.represent(tmp_path / "model", tmp_path / "cell", who, source, tmp_path / "a", tmp_path / "b")
    found = pandas.read_parquet(tmp_path / "a")
    assert one(found, metric="cka", layer="0", subset="dense layer 0").value == pytest.approx(1)
    assert set(found[found.scoring == "weight"]["subset"]) == set(matrix_names(FAMILIES["bert"]).values())
    assert one(found, metric="lens_kl", layer="2").value == pytest.approx(0, abs=1e-6)


def test_a_model_whose_blocks_are_not_known_is_refused():
    from transformers import BloomConfig, BloomForCausalLM

    with pytest.raises(PalimpsestError, match="the blocks of a bloom are not known"):
        Watched(BloomForCausalLM(BloomConfig(vocab_size=20, hidden_size=8, n_layer=1, n_head=1)))
