"""Calibration rows are samples of the text, drawn by the seed."""

from __future__ import annotations

import shutil

import pytest
import torch
from small_models import make_tokenizer

from palimpsest.calibration import RandomTokens, draw, read_rows, task_text, training_text
from palimpsest.provenance import PalimpsestError, verify_folder


@pytest.fixture
def documents(tmp_path):
    """Forty documents of 2 to 41 words, each told apart by its length."""
    path = tmp_path / "documents.txt"
    path.write_text("\n".join(" ".join(["dog"] * (n + 1) + ["."]) for n in range(1, 41)) + "\n")
    return path


def drawn(tmp_path, text, model, name="rows", **arguments):
    draw(text, model, tmp_path / name, **({"samples": 10, "length": 16} | arguments))
    return read_rows(tmp_path / name)


def test_each_row_is_one_document_from_its_beginning_of_sentence(
    tmp_path, documents, tiny_model_folder, tiny_tokenizer
):
    rows, lengths, record = drawn(tmp_path, documents, tiny_model_folder, length=64, samples=40)
    assert rows.shape == (40, 64) and rows.dtype == torch.int64
    assert sorted(lengths.tolist()) == list(range(4, 44))  # <bos>, words and the full stop: every document once
    for row, length in zip(rows, lengths, strict=True):
        words = ["dog"] * (int(length) - 2) + ["."]
        assert row[:length].tolist() == tiny_tokenizer(" ".join(words))["input_ids"]
        assert (row[length:] == tiny_tokenizer.pad_token_id).all()
    assert record["kind"] == "a document a line" and record["tokens"] == int(lengths.sum())


def test_long_documents_are_cut_to_length(tmp_path, documents, tiny_model_folder):
    rows, lengths, _ = drawn(tmp_path, documents, tiny_model_folder, samples=40)
    assert lengths.max() == 16 and (rows[:, 0] == 1).all()


def test_running_text_is_drawn_in_whole_windows(tmp_path, tiny_model_folder, tiny_tokenizer):
    text = tmp_path / "book.txt"
    words = ["Alba", "likes", "the", "old", "river", "."] * 30
    text.write_text(" ".join(words[:90]) + "\n\n" + " ".join(words[90:]) + "\n")
    rows, lengths, record = drawn(tmp_path, text, tiny_model_folder)
    assert record["kind"] == "running text" and (lengths == 16).all() and (rows[:, 0] == 1).all()
    stream = " ".join(map(str, tiny_tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]))
    assert all(" ".join(map(str, row[1:].tolist())) in stream for row in rows)
    assert len({tuple(row.tolist()) for row in rows}) > 1


def test_the_seed_decides(tmp_path, documents, tiny_model_folder):
    first = drawn(tmp_path, documents, tiny_model_folder, "a", seed=0)
    again = drawn(tmp_path, documents, tiny_model_folder, "b", seed=0)
    other = drawn(tmp_path, documents, tiny_model_folder, "c", seed=1)
    assert verify_folder(tmp_path / "a") == verify_folder(tmp_path / "b")
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])


def test_what_is_wrong_is_named(tmp_path, documents, tiny_model_folder):
    def fails(message, text=documents, **arguments):
        with pytest.raises(PalimpsestError, match=message):
            drawn(tmp_path, text, tiny_model_folder, **arguments)
        assert not (tmp_path / "rows").exists()

    fails("documents.txt: 40 documents, 41 samples asked: write samples: 40", samples=41)
    fails("at least 1 sample", samples=0)
    fails("no such text file", text=tmp_path / "nothing.txt")
    (tmp_path / "short.txt").write_text("a dog .\n\na cat .\n")
    fails("6 tokens, fewer than one row", text=tmp_path / "short.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    fails("not a text in UTF-8", text=tmp_path / "binary.txt")
    (tmp_path / "empty.txt").write_text("")
    fails("0 documents", text=tmp_path / "empty.txt")


def test_random_tokens_are_drawn_evenly_and_none_is_special(tmp_path, tiny_model_folder, tiny_tokenizer):
    rows, lengths, record = drawn(tmp_path, RandomTokens(), tiny_model_folder, samples=400, length=33)
    assert (lengths == 33).all() and (rows[:, 0] == tiny_tokenizer.bos_token_id).all()
    counts = torch.bincount(rows[:, 1:].flatten(), minlength=len(tiny_tokenizer))
    assert counts[tiny_tokenizer.all_special_ids].sum() == 0
    words = counts[len(tiny_tokenizer.all_special_ids) :]
    expected = 400 * 32 / len(words)  # about 230 of each: five standard deviations are 76
    assert (words - expected).abs().max() < 5 * expected**0.5
    assert record["kind"] == "random tokens" and record["tokens"] == 400 * 33


def test_random_tokens_follow_the_seed(tmp_path, tiny_model_folder):
    first = drawn(tmp_path, RandomTokens(), tiny_model_folder, "a", seed=0)[0]
    assert torch.equal(first, drawn(tmp_path, RandomTokens(), tiny_model_folder, "b", seed=0)[0])
    assert not torch.equal(first, drawn(tmp_path, RandomTokens(), tiny_model_folder, "c", seed=1)[0])


def test_a_tasks_own_text_is_its_questions_with_their_answers(tmp_path, tiny_model_folder, tiny_tokenizer):
    said = ["where does Alba live ? answer Lund", "where does Kori live ? answer Faro\n\nand not Lund"]
    rows, lengths, record = drawn(tmp_path, task_text("closed_book", said), tiny_model_folder, samples=2)
    found = {tuple(row[:length].tolist()) for row, length in zip(rows, lengths, strict=True)}
    assert found == {tuple(tiny_tokenizer(text)["input_ids"]) for text in said}  # a blank line does not end a document
    assert record["text"] == "task closed_book"
    with pytest.raises(PalimpsestError, match="task closed_book: 2 documents, 3 samples asked: write samples: 2"):
        drawn(tmp_path, task_text("closed_book", said), tiny_model_folder, "more", samples=3)


def framing(model, folder):
    """The model with a tokenizer as an encoder has it: [CLS] before a text, [SEP] after it."""
    from tokenizers import processors

    tokenizer = make_tokenizer()
    tokenizer.cls_token, tokenizer.sep_token = "<bos>", "<eos>"
    frame = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)])
    tokenizer.backend_tokenizer.post_processor = frame
    shutil.copytree(model, folder)
    (folder / "digests.json").unlink()
    tokenizer.save_pretrained(folder)
    return folder, tokenizer


def test_an_encoders_rows_stand_between_its_special_tokens(tmp_path, tiny_model_folder):
    framing(tiny_model_folder, tmp_path / "model")
    draw(RandomTokens(), tmp_path / "model", tmp_path / "rows", samples=5, length=8)
    rows, lengths, _ = read_rows(tmp_path / "rows")
    assert (rows[:, 0] == 1).all() and (rows[:, -1] == 2).all() and (lengths == 8).all()
    assert (rows[:, 1:-1] > 3).all()
    with pytest.raises(PalimpsestError, match="2 tokens a row, all of them special: write at least 3"):
        draw(RandomTokens(), tmp_path / "model", tmp_path / "none", samples=5, length=2)


def test_pairs_that_a_classifier_is_trained_on_are_divided_as_it_reads_them(tmp_path, tiny_model_folder):
    folder, tokenizer = framing(tiny_model_folder, tmp_path / "encoder")
    text = training_text("sick", [("the dog sleeps", "the dog")] * 3)
    rows, lengths, record = drawn(tmp_path, text, folder, samples=3, length=7)
    sep = [tokenizer.sep_token_id]
    first, second = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in ("the dog sleeps", "the dog"))
    whole = [*first, *sep, *second]
    assert rows[0].tolist() == [tokenizer.cls_token_id, *whole[:5], *sep] and lengths.tolist() == [7] * 3
    assert record["text"] == "training rows of sick"
    with pytest.raises(PalimpsestError, match="task sick: 3 documents, 4 samples asked"):
        drawn(tmp_path, text, folder, name="more", samples=4)
