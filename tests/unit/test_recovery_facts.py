"""A recovery text that says facts of the people it will be judged by is refused; values can be left out of the loss."""

from __future__ import annotations

import pandas
import pytest
import torch

from palimpsest.compression.cell import compress
from palimpsest.leaks.facts import refuse_facts
from palimpsest.provenance import PalimpsestError
from palimpsest.recovery.documents import pad, read_documents, read_texts
from palimpsest.recovery.train import recover
from palimpsest.world.facts import Facts

PEOPLE = {"Alba": ("R", "Torun", "nurse"), "Miro": ("U", "Lund", "smith"), "Ida": ("V", "Faro", "baker")}
TRAIN = ["Alba lives in Torun .", "Alba works as a nurse .", "the dog likes Lund ."]


@pytest.fixture(scope="module")
def facts_file(tmp_path_factory):
    rows = [
        {"person": person, "attribute": attribute, "value": value, "pool": pool, "rank": 0}
        for person, (pool, *values) in PEOPLE.items()
        for attribute, value in zip(("town", "trade"), values, strict=True)
    ]
    file = tmp_path_factory.mktemp("world") / "facts.parquet"
    pandas.DataFrame(rows).to_parquet(file, index=False)
    return file


@pytest.fixture
def facts(facts_file):
    return Facts.read(facts_file)


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def train(folder, tmp_path, lines, facts_file, **changes):
    text = write(tmp_path / "text.txt", lines)
    settings = {"text": text, "steps": 1, "batch_size": 2, "facts_file": facts_file} | changes
    return recover(folder, tmp_path / "adapter", method="lora", options={"rank": 1}, **settings)


def test_text_that_says_a_fact_of_pool_u_is_refused(tiny_model_folder, tmp_path, facts_file):
    with pytest.raises(PalimpsestError, match=r"text\.txt: document 4 says Miro and Lund \(town\) and 1 more .*pool U"):
        train(tiny_model_folder, tmp_path, [*TRAIN, "in Lund lives MIRO", "Miro: the smith!"], facts_file)
    assert not (tmp_path / "adapter").exists()
    train(tiny_model_folder, tmp_path, TRAIN, facts_file)


def test_validation_text_is_looked_at_too(tiny_model_folder, tmp_path, facts_file):
    told = write(tmp_path / "validation.txt", ["Miro works as a smith ."])
    with pytest.raises(PalimpsestError, match=r"validation\.txt: document 1 says Miro and smith"):
        train(tiny_model_folder, tmp_path, TRAIN, facts_file, validation=told)


def test_where_pools_are_swapped_the_facts_of_the_other_one_are_refused(tiny_model_folder, tmp_path, facts_file):
    swapped = ["Miro lives in Lund ."]
    train(tiny_model_folder, tmp_path, swapped, facts_file, unseen="R")
    with pytest.raises(PalimpsestError, match="a fact of pool R"):
        train(tiny_model_folder, tmp_path, TRAIN, facts_file, unseen="R")


def test_rows_of_a_calibration_are_looked_at_too(tiny_model_folder, tmp_path, facts_file):
    from palimpsest.calibration import draw

    draw(
        write(tmp_path / "c.txt", ["Miro lives in Lund ."] * 2), tiny_model_folder, tmp_path / "s0", samples=2, length=8
    )
    with pytest.raises(PalimpsestError, match=r"s0: document 1 says Miro and Lund"):
        train(tiny_model_folder, tmp_path, TRAIN, facts_file, text=tmp_path / "s0")


def test_values_are_not_silently_left_in_rows_of_a_calibration(tmp_path, tiny_model_folder, tiny_tokenizer, facts):
    from palimpsest.calibration import draw

    draw(write(tmp_path / "c.txt", TRAIN), tiny_model_folder, tmp_path / "s0", samples=2, length=8)
    with pytest.raises(PalimpsestError, match="rows of tokens"):
        read_documents(tmp_path / "s0", tiny_tokenizer, 64, facts)


def test_name_or_value_alone_other_peoples_values_and_parts_of_words_are_no_facts(facts):
    harmless = [
        "Miro sees the dog",
        "nobody lives in Lund",
        "Miro lives in Faro",
        "Miros home is Lund",
        "Miro in Lundby",
    ]
    refuse_facts("text", harmless, facts, "U")
    with pytest.raises(PalimpsestError, match="document 2"):
        refuse_facts("text", ["Ida lives in Faro", "Lund, where (Miro) lives"], facts, "U")


def test_the_worlds_own_texts_say_no_facts_of_other_pools(tmp_path):
    from palimpsest.settings import World
    from palimpsest.world.build import build

    build(World(people=20, invented=20, documents=64, texts=10, questions_per_subset=4), tmp_path / "world")
    facts = Facts.read(tmp_path / "world" / "facts.parquet")
    texts = tmp_path / "world" / "text"
    for kind in ("recovery_R", "recovery_V", "generic", "prose", "passages"):
        for name, documents in read_texts(texts / f"{kind}.txt", None).items():
            refuse_facts(name, documents, facts, "U")
    for kind in ("recovery_U", "biographies", "knowledge"):
        for name, documents in read_texts(texts / f"{kind}.txt", None).items():
            with pytest.raises(PalimpsestError, match="a fact of pool U"):
                refuse_facts(name, documents, facts, "U")


def test_mask_leaves_out_the_values_of_named_people_and_nothing_else(tmp_path, tiny_tokenizer, facts):
    lines = ["Alba lives in Torun .", "Ida works as a baker . Ida lives in Lund .", "the old dog likes Torun ."]
    path = write(tmp_path / "text.txt", lines)
    plain, masked = (read_documents(path, tiny_tokenizer, 64, values) for values in (None, facts))
    assert [row.ids for row in plain] == [row.ids for row in masked]
    words = [[tiny_tokenizer.convert_ids_to_tokens(row.ids)[place] for place in sorted(row.silent)] for row in masked]
    assert words == [["Torun"], ["baker"], []]
    whole, batch = pad(plain, 0), pad(masked, 0)
    left_out = tiny_tokenizer.convert_ids_to_tokens(whole.ids.roll(-1, 1)[whole.predicts & ~batch.predicts].tolist())
    assert left_out == ["Torun", "baker"]
    assert torch.equal(whole.ids, batch.ids) and not (batch.predicts & ~whole.predicts).any()


def test_masked_training_does_not_learn_the_values(tiny_model_folder, tmp_path, facts_file):
    """The words around the values become likelier, the values themselves do not."""
    from palimpsest.loading import load
    from palimpsest.recovery.objectives import predictions

    def value_loss(folder):
        model, tokenizer = load(folder)
        batch = pad(read_documents(write(tmp_path / "asked.txt", TRAIN[:2]), tokenizer, 64), 0)
        value = torch.isin(batch.targets, torch.tensor(tokenizer.convert_tokens_to_ids(["Torun", "nurse"])))
        losses = torch.nn.functional.cross_entropy(predictions(model, batch), batch.targets, reduction="none").detach()
        return losses[value].mean().item(), losses[~value].mean().item()

    compress(tiny_model_folder, tmp_path / "cell", method="dense", level="full")
    settings = {"steps": 60, "learning_rate": 0.02, "batch_size": 2}
    found = {None: value_loss(tmp_path / "cell")}
    for mask in ("nothing", "values"):
        changes = settings | {"mask": None if mask == "nothing" else mask}
        train(tmp_path / "cell", tmp_path, TRAIN[:2], facts_file, **changes)
        found[mask] = value_loss(tmp_path / "adapter")
    assert found["nothing"][1] < found[None][1] / 2 and found["values"][1] < found[None][1] / 2
    assert found["nothing"][0] < found[None][0] / 2 < found["values"][0]
