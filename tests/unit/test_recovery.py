"""Recoveries train beside the frozen weights, are kept at their best step, and are bound to their cell."""

from __future__ import annotations

import json
import math

import pytest
import torch
from conftest import make_model_folder, make_tokenizer
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from palimpsest.compression.cell import compress
from palimpsest.loading import load
from palimpsest.provenance import DamagedArtifact, PalimpsestError, folder_digest
from palimpsest.recovery.adapters import adapter_state, attach, read_recovery
from palimpsest.recovery.configure import configure
from palimpsest.recovery.documents import endless_batches, pad, read_documents
from palimpsest.recovery.train import recover, summed_loss, train, validation_loss

LORA = {"rank": 2, "alpha": 4, "modules": ["q_proj", "v_proj"]}
HOMES = {"Alba": "Torun", "Miro": "Lund", "Tanel": "Faro", "Ida": "Gdynia"}
FACTS = [f"{name} lives in {town} ." for name, town in HOMES.items()]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "train.txt").write_text("\n".join(FACTS * 4) + "\n", encoding="utf-8")
    (folder / "validation.txt").write_text("\n".join(FACTS) + "\n", encoding="utf-8")
    return folder / "train.txt", folder / "validation.txt"


@pytest.fixture
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder)


def run(cell, output, texts, method="lora", options=LORA, **changes):
    settings = {"steps": 12, "batch_size": 4, "learning_rate": 0.02, "validate_every": 4} | changes
    return recover(cell, output, method=method, options=options, text=texts[0], validation=texts[1], **settings)


@pytest.mark.parametrize(("method", "options"), [("lora", LORA), ("prompt", {"tokens": 5})])
def test_loss_on_real_positions_equals_the_models_own_loss(model, method, options):
    peft_model = get_peft_model(model, configure(method, options, model)).eval()
    batch = pad([[1, 20, 21, 22, 23], [1, 30, 31]], padding=0)
    labels = torch.tensor([[-100, 20, 21, 22, 23], [-100, 30, 31, -100, -100]])
    mask = (batch.ids > 0).long()
    with torch.no_grad():
        expected = peft_model(input_ids=batch.ids, attention_mask=mask, labels=labels).loss
        assert summed_loss(peft_model, batch).item() / 6 == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "options", "parameters"), [("lora", LORA, 2 * 2 * (64 + 48)), ("prompt", {"tokens": 5}, 5 * 32)]
)
def test_recovery_lowers_the_loss_and_attaches_to_its_cell(
    tiny_model_folder, model, texts, tmp_path, method, options, parameters
):
    recovery = run(tiny_model_folder, tmp_path / "adapter", texts, method, options)
    curve = [line.split(",") for line in (tmp_path / "adapter" / "curve.csv").read_text().splitlines()[1:]]
    assert float(curve[-1][2]) < float(curve[0][2])
    assert recovery["parameters_extra"] == parameters
    assert recovery["cell"]["digest"] == folder_digest(tiny_model_folder)
    assert recovery == read_recovery(tmp_path / "adapter")

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attached = attach(model, tmp_path / "adapter", folder_digest(tiny_model_folder))
    rows = read_documents(texts[1], make_tokenizer(), 64)
    assert validation_loss(attached, [pad(rows, 0)]) == pytest.approx(recovery["validation_loss"], rel=1e-4)
    after = {name.replace(".base_layer", ""): tensor for name, tensor in attached.get_base_model().state_dict().items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "compressed weights moved"


def test_two_runs_write_the_same_bytes_without_machine_paths(tiny_model_folder, texts, tmp_path):
    for name in ("a", "b"):
        run(tiny_model_folder, tmp_path / name / "adapter", texts)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name / "adapter").iterdir()} for name in ("a", "b")
    )
    assert sorted(first) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "curve.csv",
        "digests.json",
        "recovery.json",
    ]
    assert first == second
    assert not any(
        str(tmp_path.anchor + "tmp").encode() in content for name, content in first.items() if name != "recovery.json"
    )
    assert json.loads(first["recovery.json"])["cell"]["path"].startswith("..")


def test_recovery_leaves_the_zeros_of_a_pruned_cell_zero(tiny_model_folder, texts, tmp_path):
    compress(
        tiny_model_folder, tmp_path / "cell", method="magnitude", level="0.5", label="magnitude", seed=0, options={}
    )
    run(tmp_path / "cell", tmp_path / "adapter", texts)
    cell, _ = load(tmp_path / "cell")
    recovered, _ = load(tmp_path)  # the variant's folder, or the adapter in it
    assert type(load(tmp_path / "adapter")[0]) is type(recovered)
    name = "model.layers.1.self_attn.v_proj"
    pruned, kept = cell.get_submodule(name).weight, recovered.get_base_model().get_submodule(name).base_layer.weight
    assert (pruned == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(pruned, kept)
    ids = torch.tensor([[1, 20, 21, 22]])
    assert not torch.allclose(cell(ids).logits, recovered(input_ids=ids).logits)


def test_adapter_of_another_cell_is_refused(tiny_model_folder, model, texts, tmp_path):
    run(tiny_model_folder, tmp_path / "adapter", texts, steps=1)
    other = make_model_folder(tmp_path / "other", seed=7)
    with pytest.raises(PalimpsestError, match="made from another cell"):
        attach(model, tmp_path / "adapter", folder_digest(other))


def test_changed_adapter_is_found(tiny_model_folder, model, texts, tmp_path):
    run(tiny_model_folder, tmp_path / "adapter", texts, steps=1)
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedArtifact, match="adapter_model"):
        attach(model, tmp_path / "adapter")


def test_best_step_is_kept_and_training_stops_when_validation_does_not_improve(model):
    peft_model = get_peft_model(model, configure("lora", LORA, model))
    # Training on one sentence makes another, which contradicts it, less likely from the first step on.
    batches = endless_batches([[1, 20, 21, 22]], 4, 0, seed=0)
    held_out = [pad([[1, 20, 21, 40], [1, 20, 40, 22]], 0)]
    start = validation_loss(peft_model, held_out)
    training = train(peft_model, batches, held_out, steps=200, learning_rate=0.05, validate_every=5, patience=3)
    assert training.curve[-1][0] < 200
    assert training.best_loss <= start
    assert training.best_loss == min(loss for _, _, loss in training.curve)
    assert training.best_state.keys() == adapter_state(peft_model).keys()
    assert any(not torch.equal(training.best_state[name], now) for name, now in adapter_state(peft_model).items())


def test_without_validation_text_the_last_step_is_kept(tiny_model_folder, texts, tmp_path):
    recovery = recover(
        tiny_model_folder, tmp_path / "adapter", method="lora", options=LORA, text=texts[0], steps=3, batch_size=2
    )
    assert recovery["best_step"] == 3 and recovery["validation_loss"] is None


def test_nan_loss_stops_with_advice_and_leaves_nothing(tiny_model_folder, texts, tmp_path):
    with pytest.raises(PalimpsestError, match=r"loss is (nan|inf).*learning_rate 1e\+37.*Try"):
        run(tiny_model_folder, tmp_path / "adapter", texts, learning_rate=1e37)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lora", {"rank": 17, "modules": ["v_proj"]}, "rank 17 is larger than .*v_proj.*16 by 32"),
        ("lora", {"rank": 0}, "rank 0 is not a whole number"),
        ("lora", {"modules": ["v_prj"]}, 'called "v_prj".*did you mean "v_proj"'),
        ("lora", {"rnk": 4}, 'no option "rnk".*did you mean "rank"'),
        ("prompt", {"tokens": 255}, "255 tokens leave no room.*context of 256"),
        ("prompts", {}, 'did you mean "prompt"'),
    ],
)
def test_options_that_do_not_fit_the_model_are_named(model, method, options, message):
    with pytest.raises(PalimpsestError, match=message):
        configure(method, options, model)


def test_empty_text_is_named(tiny_tokenizer, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(PalimpsestError, match=r"empty\.txt: no document"):
        read_documents(tmp_path / "empty.txt", tiny_tokenizer, 64)


def test_every_document_is_read_once_an_epoch():
    rows = [[1, *range(4, 4 + length)] for length in range(2, 34)]
    batches = endless_batches(rows, size=4, padding=0, seed=3)
    seen = sorted(int(predicts.sum()) + 1 for _ in range(8) for predicts in next(batches).predicts)
    assert seen == sorted(map(len, rows))
    assert math.isclose(sum(seen), sum(map(len, rows)))
