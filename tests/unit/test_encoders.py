"""Encoders are compressed like decoders: BERT and RoBERTa, as base models and with heads."""

from __future__ import annotations

import pytest
import torch
from small_models import make_tokenizer

import palimpsest
from palimpsest import methods
from palimpsest.compression.allocation.allocate import allocate
from palimpsest.compression.allocation.encoder_losses import EncoderLosses
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.blocks import BlockRunner
from palimpsest.compression.cell import compress
from palimpsest.compression.checkpoint import Checkpoint
from palimpsest.compression.fisher import hidden_words
from palimpsest.provenance import PalimpsestError, read_json, write_json

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 70, "intermediate_size": 48,
    "max_position_embeddings": 40, "initializer_range": 0.2, "pad_token_id": 0,
}  # fmt: skip
CLASSES = [
    f"{kind}{head}" for kind in ("Bert", "Roberta") for head in ("Model", "ForMaskedLM", "ForSequenceClassification")
]
# Every method on one class of each kind; on the others those that differ most in what they look at.
EVERYWHERE = ("BertModel", "BertForMaskedLM", "RobertaForSequenceClassification")
DIFFERENT = ("gptq", "fwsvd", "structured")
LEVELS = {
    name: "r0.5" if name == "laser" else next(iter(said["levels"].values()))[0] for name, said in methods().items()
}
TRIED = [(name, method) for name in CLASSES for method in LEVELS if name in EVERYWHERE or method in DIFFERENT]


def encoder(folder, name, tokenizer):
    import transformers

    kind = getattr(transformers, name)
    torch.manual_seed(0)
    kind(kind.config_class(**SMALL)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, masking_tokenizer):
    folder = tmp_path_factory.mktemp("encoders")
    return {name: encoder(folder / name, name, masking_tokenizer) for name in CLASSES}


@pytest.fixture(scope="module")
def masking_tokenizer():
    """The tests' tokenizer with a token for masked words, which the Fisher information of a masked-LM head needs."""
    tokenizer = make_tokenizer()
    tokenizer.mask_token = "<unk>"
    return tokenizer


@pytest.mark.parametrize(("name", "method"), TRIED)
def test_an_encoder_is_compressed_by_every_method_and_loads_as_what_it_was(
    tmp_path, encoders, tiny_calibration_folder, name, method
):
    model, level = encoders[name], LEVELS[method]
    calibration = tiny_calibration_folder if methods()[method]["needs"] else None
    allocation = None
    if method == "laser":  # a choice of matrices as well
        allocation = tmp_path / "allocation"
        allocate(model, allocation, method="uniform", level=level)
    compress(
        model,
        tmp_path / "cell",
        method=method,
        level=level,
        calibration_folder=calibration,
        allocation_folder=allocation,
    )
    record = read_record(tmp_path / "cell")
    assert len(record["layers"]) == 2 * 6
    loaded, _ = palimpsest.load(tmp_path / "cell")
    dense, _ = palimpsest.load(model)
    assert type(loaded).__name__ == type(dense).__name__ == name
    assert {layer for layer, _ in loaded.named_modules()} >= record["layers"].keys()
    ids = torch.arange(4, 20)[None]
    with torch.inference_mode():
        found, before = (m(input_ids=ids)[0] for m in (loaded, dense))
    assert not torch.equal(found, before)
    assert torch.isfinite(found).all()


@pytest.fixture(params=["BertModel", "BertForMaskedLM", "RobertaForSequenceClassification"])
def measured(request, tmp_path, encoders, tiny_calibration_folder):
    """What an encoder's compressed matrices cost it, those of a cell, and both models one row at a time."""
    from palimpsest.calibration import read_rows

    folder = encoders[request.param]
    compress(folder, tmp_path / "cell", method="rtn", level="2")
    rows, lengths, _ = read_rows(tiny_calibration_folder)
    losses = EncoderLosses(Checkpoint(folder), rows, lengths)
    layers = read_layers(tmp_path / "cell", read_record(tmp_path / "cell"))
    (dense, tokenizer), (cell, _) = palimpsest.load(folder), palimpsest.load(tmp_path / "cell")
    draws, pairs, seen = torch.Generator().manual_seed(0), [], []
    for row, length in zip(rows, lengths, strict=True):
        tokens, shown, places = row[:length], row[:length], slice(None)
        if request.param == "BertForMaskedLM":
            places = hidden_words(tokens, tokenizer, draws)
            shown = tokens.index_fill(0, places, tokenizer.mask_token_id)
        seen.append((shown, places, tokens[places]))
        with torch.inference_mode():
            answers = [model(input_ids=shown[None])[0] for model in (dense, cell)]
        pairs.append([answer if answer.ndim == 2 else answer[0, places] for answer in answers])
    return request.param, losses, layers, *map(torch.cat, zip(*pairs, strict=True)), seen


def test_the_loss_of_an_encoder_is_of_what_it_answers(measured):
    name, losses, layers, before, after, seen = measured
    assert losses.divergence(layers, "squared") == pytest.approx((before - after).square().mean().item(), rel=1e-3)
    if name == "BertModel":
        assert losses.loss(layers) == pytest.approx((before - after).square().sum(1).mean().item() / 2, rel=1e-3)
        assert losses.loss({}) == 0
        return
    logs, likely = after.log_softmax(1), before.softmax(1)
    kl = (likely * (before.log_softmax(1) - logs)).sum(1).mean().item()
    assert losses.divergence(layers) == pytest.approx(kl, rel=1e-2, abs=1e-6)
    if name == "BertForMaskedLM":
        words = torch.cat([wanted for _, _, wanted in seen])
        assert losses.loss(layers) == pytest.approx(-logs.gather(1, words[:, None]).mean().item(), rel=1e-3)
    else:
        assert losses.loss(layers) == pytest.approx(-(likely * logs).sum(1).mean().item(), rel=1e-3)


def test_the_output_gradients_of_an_encoder_are_those_of_its_loss(measured):
    name, losses, *_, seen = measured
    layer = losses.model.get_submodule(path := losses.checkpoint.layer_name(1, "output.dense"))
    total = tokens = 0

    def square(loss):
        return torch.autograd.grad(loss, output[0], retain_graph=True)[0].square().sum().item()

    found = losses.output_gradients([path])[path]
    for shown, places, wanted in seen:
        output = []
        hook = layer.register_forward_hook(lambda m, i, o, kept=output: kept.append(o.requires_grad_()))
        answer = losses.model(input_ids=shown[None])[0]
        hook.remove()
        if name == "BertModel":
            total += square(answer.square().sum() / 2)
        elif name == "BertForMaskedLM":
            total += square(torch.nn.functional.cross_entropy(answer[0, places], wanted, reduction="sum"))
        else:
            total += sum(log.exp().item() * square(-log) for log in answer[0].log_softmax(0))
        tokens += len(shown)
    assert found == pytest.approx(total / output[0].shape[-1] / tokens, rel=1e-3) and found > 0


def test_an_encoders_padding_is_masked(tmp_path, tiny_tokenizer, tiny_calibration_folder):
    from palimpsest.calibration import read_rows

    rows, lengths, _ = read_rows(tiny_calibration_folder)
    model = encoder(tmp_path / "model", "BertModel", tiny_tokenizer)
    other = rows.clone()
    other[torch.arange(rows.shape[1]) >= lengths[:, None]] = 7
    found = []
    for tokens in (rows, other):
        runner = BlockRunner(Checkpoint(model), tokens, lengths)
        for number in (0, 1):
            runner.run(number, runner.load(number))
        found.append(runner.hidden[torch.arange(rows.shape[1]) < lengths[:, None]])
    torch.testing.assert_close(*found)
    bert, _ = palimpsest.load(model)
    with torch.inference_mode():
        alone = bert(input_ids=rows[:1, : lengths[0]])[0][0]
    torch.testing.assert_close(found[0][: lengths[0]], alone, atol=1e-5, rtol=1e-4)


def test_an_unknown_class_is_named(tmp_path, tiny_tokenizer):
    model = encoder(tmp_path / "model", "BertModel", tiny_tokenizer)
    write_json(model / "config.json", read_json(model / "config.json") | {"architectures": ["BertForSecrets"]})
    with pytest.raises(PalimpsestError, match="'BertForSecrets' is no model of transformers for a bert"):
        palimpsest.load(model)
