"""Words and spans stand for their own tokens, treebanks are read as they are, and what is wrong is named by place."""

import gzip
import json
import os
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, BertConfig, BertModel, PreTrainedTokenizerFast

from palimpsest.probing import edges, words
from palimpsest.probing.data import read_probe, write_probe
from palimpsest.probing.readers.conllu import conllu, sentences
from palimpsest.probing.readers.mentions import mentions
from palimpsest.probing.readers.spans import spans
from palimpsest.probing.word_states import word_states, word_tokens
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Probe, World
from palimpsest.world.build import build
from palimpsest.world.forms import parse

DATA = os.environ.get("PALIMPSEST_DATA")
needs_treebank = pytest.mark.skipif(
    not DATA or not Path(DATA, "data/ud_english_ewt").is_dir(), reason="PALIMPSEST_DATA has no data/ud_english_ewt"
)
SENTENCES = [
    ["Don't", "re-read", "naïve", "ideas", "!"],
    ["I", "read"],
    ["unbelievable", "ideas", ",", "I", "say", "."],
]


def trained(kind):
    """A small word-piece or byte-level BPE tokenizer, which cuts most words of `SENTENCES`."""
    if kind == "word-piece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=42, special_tokens=["[UNK]", "[CLS]", "[SEP]"])
        special = [("[CLS]", 1), ("[SEP]", 2)]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    elif kind == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=265, initial_alphabet=alphabet)
    else:  # as in Llama 2, a space is the beginning of its word
        tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=42, special_tokens=["[UNK]"])
    tokenizer.train_from_iterator([" ".join(each) for each in SENTENCES] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def named(sentences=SENTENCES):
    return [{"id": f"s{number}", "words": each} for number, each in enumerate(sentences)]


@pytest.mark.parametrize("kind", ["word-piece", "byte-level", "metaspace"])
def test_a_word_has_its_own_tokens_and_no_others(kind):
    tokenizer = trained(kind)
    cut = 0
    for row in named():
        tokens, own = word_tokens(tokenizer, row)
        order = list(chain(*own))
        assert order == sorted(set(order))
        for word, positions in zip(row["words"], own, strict=True):
            text = tokenizer.decode([tokens[position] for position in positions]).replace(" ", "").replace("##", "")
            expected = word.lower().replace("ï", "i") if kind == "word-piece" else word
            assert text in (expected, expected.replace("ï", "[UNK]"))
            cut += len(positions) > 1
    assert cut > 3


def test_a_words_state_is_the_mean_of_its_tokens():
    tokenizer = trained("word-piece")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    bert = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **small)).eval()
    found = word_states(bert, tokenizer, named())
    assert found.shape == (3, 13, 32)
    start = 0
    for row in named():
        pieces = [tokenizer.tokenize(word) for word in row["words"]]
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *chain(*pieces), "[SEP]"])
        with torch.no_grad():
            states = torch.stack(bert(torch.tensor([ids]), output_hidden_states=True).hidden_states)[:, 0]
        place = 1
        for number, own in enumerate(pieces):
            expected = states[:, place : place + len(own)].mean(1)
            torch.testing.assert_close(found[:, start + number].float(), expected, atol=3e-3, rtol=1e-2)
            place += len(own)
        start += len(pieces)
    some = word_states(bert, tokenizer, named(), [[0, 4], [], [1]])
    torch.testing.assert_close(some, found[:, [0, 4, 8]])


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


UNREADABLE = {
    "an empty word": (["the", ""], "s0: an empty word"),
    "no words": ([], "s0: an empty sentence"),
    "too long": (["dog"] * 300, "s0: 301 tokens do not fit into the model's context of 256"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_sentences_that_cannot_be_read_are_named(name, model, tiny_tokenizer):
    sentence, message = UNREADABLE[name]
    with pytest.raises(PalimpsestError, match=message):
        word_states(model, tiny_tokenizer, named([sentence]))


def test_a_word_without_a_token_is_named():
    with pytest.raises(PalimpsestError, match=r"s0: the tokenizer makes no token of the word '\\x07'"):
        word_tokens(trained("word-piece"), {"id": "s0", "words": ["I", "\x07", "read"]})


TAGS = ["NOUN", "VERB", "DET"]


def tagged(count=400, seed=0):
    """Sentences of words whose states, one-hot in the type and a random direction for the tag, say both."""
    rng = np.random.default_rng(seed)
    rows, states = [], []
    tag = np.arange(40) % 3
    directions = rng.normal(size=(3, 8))
    for number in range(count):
        types = rng.integers(0, 40, size=5)
        split = "test" if number % 4 == 0 else "validation" if number % 4 == 1 else "train"
        labels = [TAGS[tag[each]] for each in types]
        row = {"id": f"s{number}", "words": [f"w{each}" for each in types], "labels": labels, "split": split}
        rows.append(row | {"labels": [*labels[:4], None]})
        states += [directions[tag[each]] + 0.3 * rng.normal(size=8) for each in types[:4]]
    return np.array(states)[None], rows


def probed(outcomes):
    """The majority, and what the only classifier at the only layer gets right."""
    by_metric = {each.metric: each for each in outcomes}
    return by_metric["majority"], by_metric["acc"]


def test_the_words_with_a_label_are_probed_and_selectivity_shows_what_is_remembered():
    """The tag lies open; the type does not, and so the control task has nothing to remember."""
    states, rows = tagged()
    assert all(drawn == [0, 1, 2, 3] for drawn in words.drawn(rows))
    majority, found = probed(words.outcomes({"words": states}, rows, Probe()))
    assert (found.metric, found.subset, found.scoring, found.layer, found.classes) == ("acc", "all", "linear", 0, 3)
    assert len(found.rows) == len(set(found.rows)) == 4 * len(set(found.clusters)) == 400
    assert found.values.mean() > 0.95
    assert found.controls.mean() < 0.75
    assert majority.values.mean() < 0.5
    types = np.eye(40)[[int(word[1:]) for row in rows for word in row["words"][:4]]]
    _, remembered = probed(words.outcomes({"words": types[None]}, rows, Probe()))
    assert remembered.controls.mean() == remembered.values.mean() == 1


def test_a_control_label_is_the_words_types():
    _, rows = tagged(60)
    things = [(word, label) for row in rows for word, label in zip(row["words"], row["labels"], strict=True) if label]
    from palimpsest.probing.control import control_labels

    dealt = control_labels([label for _, label in things], [word for word, _ in things], salt="control")
    assert len({(word, label) for (word, _), label in zip(things, dealt, strict=True)}) == len({w for w, _ in things})


def test_noise_is_at_the_majority():
    _, rows = tagged()
    noise = np.random.default_rng(5).normal(size=(1, 1600, 8))
    majority, found = probed(words.outcomes({"words": noise}, rows, Probe()))
    for right in (found.values, found.controls):
        low, high = proportion_confint(right.sum(), len(right), alpha=0.01, method="wilson")
        assert low < 0.42 and high > 0.3
    assert abs(found.values.mean() - majority.values.mean()) < 0.1


def test_no_more_words_are_drawn_than_each_sentence_has_to_give():
    rows = [{"id": f"s{n}", "words": ["w"] * 20, "labels": ["X"] * 20, "split": "train"} for n in range(30)]
    drawn = words.drawn(rows)
    assert sum(map(len, drawn)) == words.WORDS * 30
    assert drawn == words.drawn(rows)


def test_codelength_and_layers_are_as_asked():
    states, rows = tagged(120)
    options = Probe(layers=[0, 1], codelength=True)
    found = list(words.outcomes({"words": np.concatenate([states, states])}, rows, options))
    assert {(each.metric, each.layer) for each in found if each.metric != "shuffled"} == {
        ("majority", 0), ("acc", 0), ("codelength", 0), ("acc", 1), ("codelength", 1)
    }  # fmt: skip
    (bits,) = (each for each in found if each.metric == "codelength" and each.layer == 0)
    assert bits.values.sum() < 0.7 * len(bits.values) * np.log2(3)
    assert bits.controls.sum() > bits.values.sum()


def spoiled(change):
    states, rows = tagged(80)
    for row in rows:
        change(row)
    kept = [n for n, row in enumerate(row for row in rows for _ in range(4)) if row is not None]
    return states[:, kept], rows


def test_labels_that_training_hardly_shows_are_left_out_or_named():
    def rarely(row):
        if row["id"] in ("s0", "s2"):
            row["labels"][0] = "SYM"

    def unknown(row):
        if row["split"] == "test":
            row["labels"][0] = "SYM"

    states, rows = spoiled(rarely)
    found = list(words.outcomes({"words": states}, rows, Probe()))
    assert all(each.classes == 3 and "s0/1" not in each.rows for each in found)
    states, rows = spoiled(unknown)
    with pytest.raises(PalimpsestError, match="20 of 80 labels of the test rows, 'SYM' above all, stand fewer than 10"):
        list(words.outcomes({"words": states}, rows, Probe()))


def test_one_class_and_three_rows_are_refused():
    states, rows = spoiled(lambda row: row.update(labels=["NOUN"] * 4 + [None]))
    with pytest.raises(PalimpsestError, match="1 labels stand 10 times or more in the training rows; it takes two"):
        list(words.outcomes({"words": states}, rows, Probe()))
    states, rows = tagged(3)
    with pytest.raises(PalimpsestError, match="0 labels stand 10 times or more"):
        list(words.outcomes({"words": states}, rows, Probe()))


def test_labels_and_words_are_as_many(model, tiny_tokenizer):
    row = {"id": "s0", "words": ["the", "dog"], "labels": ["DET"], "split": "train"}
    with pytest.raises(PalimpsestError, match="s0: 2 words and 1 labels"):
        words.extract(model, tiny_tokenizer, [row], Probe())


def edge(**changes):
    sentence = {"id": "e0", "words": ["the", "old", "dog", "sees", "a", "cat"], "split": "train", "label": "nsubj"}
    return sentence | {"spans": [[0, 3], [3, 4]]} | changes


def test_a_span_is_the_mean_of_its_words_and_two_stand_side_by_side(model, tiny_tokenizer):
    rows = [edge(), edge(id="e1", spans=[[5, 6], [0, 2]])]
    found = edges.extract(model, tiny_tokenizer, rows, Probe())["spans"].float()
    own = word_states(model, tiny_tokenizer, rows[:1]).float()
    assert found.shape == (3, 2, 64)
    torch.testing.assert_close(found[:, 0], torch.cat([own[:, 0:3].mean(1), own[:, 3]], 1), atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(found[:, 1], torch.cat([own[:, 5], own[:, 0:2].mean(1)], 1), atol=2e-3, rtol=1e-2)
    one = edges.extract(model, tiny_tokenizer, [edge(spans=[[2, 3]])], Probe())["spans"].float()
    torch.testing.assert_close(one[:, 0], own[:, 2], atol=2e-3, rtol=1e-2)


SPANS = {
    "behind the end": (edge(spans=[[0, 7], [3, 4]]), "e0: the span from 0 to 7 is out of range: there are 6 words"),
    "empty": (edge(spans=[[2, 2], [3, 4]]), "e0: the span from 2 to 2 is out of range"),
    "three": (edge(spans=[[0, 1], [1, 2], [2, 3]]), "e0: 3 spans, and 3 in e0; give one in every row, or two"),
}


@pytest.mark.parametrize("name", SPANS)
def test_spans_that_are_none_are_named(name, model, tiny_tokenizer):
    row, message = SPANS[name]
    with pytest.raises(PalimpsestError, match=message):
        edges.extract(model, tiny_tokenizer, [row], Probe())


def test_a_relation_is_read_from_its_spans():
    rng = np.random.default_rng(6)
    rows, states = [], []
    for number in range(200):
        label = ("nsubj", "obj")[number % 2]
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        rows.append(edge(id=f"e{number}", words=[f"w{rng.integers(9)}", "runs"], spans=[[0, 1], [1, 2]], label=label))
        rows[-1]["split"] = split
        states.append(rng.normal(size=6) + (2 if label == "obj" else -2) * np.eye(6)[4])
    _, found = probed(edges.outcomes({"spans": np.array(states)[None]}, rows, Probe()))
    assert found.values.mean() > 0.9
    assert found.controls.mean() < 0.75


CONLLU = """\
# global.Entity = eid-etype-head-other
# sent_id = a-1
# text = Don't stop Alba Kori.
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
1\tDo\tdo\tAUX\tVBP\t_\t3\taux\t_\t_
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tstop\tstop\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tyou\tyou\tPRON\tPRP\t_\t_\t_\t3:nsubj\t_
4\tAlba\tAlba\tPROPN\tNNP\t_\t3\tobj\t_\tEntity=(e1-person-1-
5\tKori\tKori\tPROPN\tNNP\t_\t4\tflat:name\t_\tSpaceAfter=No|Entity=e1)
6\t.\t.\tPUNCT\t_\t_\t3\tpunct\t_\t_

# sent_id = a-2
1\tShe\tshe\tPRON\tPRP\t_\t2\tnsubj\t_\tEntity=(e1-person-1-)
2\twon\twin\tVERB\tVBD\t_\t0\troot\t_\t_
"""
PATTERNS = {"files": {"train": "*.conllu*"}}


def treebank(folder, text=CONLLU, name="a.conllu"):
    if name.endswith(".gz"):
        (folder / name).write_bytes(gzip.compress(text.encode()))
    else:
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(folder, kind, label=None, **more):
    definition = {"probe": "mine", "kind": kind, **PATTERNS, **more} | ({"label": label} if label else {})
    return list(conllu(folder, definition))


@pytest.mark.parametrize("name", ["a.conllu", "a.conllu.gz"])
def test_words_are_the_syntactic_ones(tmp_path, name):
    (place, first), (_, second) = read(treebank(tmp_path, name=name), "word", "upos")
    assert place == f"{tmp_path / name}, line 5"
    assert first["words"] == ["Do", "n't", "stop", "Alba", "Kori", "."]
    assert first["labels"] == ["AUX", "PART", "VERB", "PROPN", "PROPN", "PUNCT"]
    assert (first["id"], first["split"], second["id"]) == ("a-1", "train", "a-2")
    assert read(tmp_path, "word", "xpos")[0][1]["labels"] == ["VBP", "RB", "VB", "NNP", "NNP", None]
    assert [row["id"] for _, row in read(tmp_path, "word", "upos", shortest=3)] == ["a-1"]
    assert [row["id"] for _, row in read(tmp_path, "word", "upos", longest=3)] == ["a-2"]


def test_a_relation_goes_from_a_word_to_its_head(tmp_path):
    found = [row for _, row in read(treebank(tmp_path), "edge", "deprel")]
    assert [(row["spans"], row["label"]) for row in found] == [
        ([[0, 1], [2, 3]], "aux"), ([[1, 2], [2, 3]], "advmod"), ([[3, 4], [2, 3]], "obj"), ([[4, 5], [3, 4]], "flat"),
        ([[0, 1], [1, 2]], "nsubj"),
    ]  # fmt: skip
    assert read(tmp_path, "edge", "deprel", subtypes=True)[3][1]["label"] == "flat:name"


def test_a_tree_has_its_heads_and_its_punctuation(tmp_path):
    (_, row), _ = read(treebank(tmp_path), "tree")
    assert row["heads"] == [3, 3, 0, 3, 4, 3]
    assert row["punctuation"] == [False] * 5 + [True]


MALFORMED = {
    "columns": ("2\tn't\tnot\tPART\tRB", "2 n't", r"line 6: 1 columns; CoNLL-U has 10, with a tab"),
    "numbers": ("2\tn't", "7\tn't", "line 6: word 7 where word 2 is due"),
    "an id": ("2\tn't", "two\tn't", r"line 6: not CoNLL-U \(Failed parsing field 'id'"),
    "a head": ("RB\t_\t3", "RB\t_\tthree", "line 6: not CoNLL-U"),
    "a tag": ("not\tPART", "not\tADVERB", "line 6: UPOS is 'ADVERB'; it must be one of ADJ, ADP"),
    "no root": ("VB\t_\t0", "VB\t_\t1", "line 5: 0 roots"),
    "two roots": ("VBP\t_\t3", "VBP\t_\t0", r"line 5: 2 roots \(words 1, 3\)"),
    "a cycle": ("NNP\t_\t3", "NNP\t_\t5", "line 5: word 4 is, by its heads, above itself"),
    "a head beyond the end": ("NNP\t_\t3", "NNP\t_\t9", "line 5: the head of word 4 is 9"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_treebanks_are_named_by_file_and_line(name, tmp_path):
    before, after, message = MALFORMED[name]
    assert before in CONLLU
    text = CONLLU.replace(before, after, 1)
    if name == "columns":
        text = re.sub("2 n't.*", "2 n't", text)
    with pytest.raises(PalimpsestError, match=rf"a\.conllu, {message}"):
        read(treebank(tmp_path, text), "tree")


def test_a_relation_to_no_word_is_named(tmp_path):
    text = CONLLU.replace("NNP\t_\t4", "NNP\t_\t9")
    with pytest.raises(PalimpsestError, match=r"a\.conllu, line 10: HEAD is 9; it must be 0 to 6"):
        read(treebank(tmp_path, text), "edge", "deprel")


def test_files_that_are_not_there_and_labels_that_are_none_are_named(tmp_path):
    with pytest.raises(PalimpsestError, match=r"there is no file \*-train.conllu\* here"):
        list(conllu(tmp_path, {"probe": "mine", "kind": "tree"}))
    with pytest.raises(PalimpsestError, match="mine: of CoNLL-U there is no probe of kind word with label 'deprel'"):
        read(treebank(tmp_path), "word", "deprel")


def test_entities_in_brackets_nest_and_cross():
    found = marked(["(e1-person-1-(e2-place-2-", "e2)", "(e3-person-1-)", "e1)", "(e4[1/2]-event-1-)", "_"])
    expected = [(0, 2, "place", "e2"), (0, 4, "person", "e1"), (2, 3, "person", "e3")]
    assert [(each.start, each.end, each.type, each.entity) for each in found] == expected


def marked(marks, key="Entity", folder=None):
    from palimpsest.probing.readers.conllu import Sentence

    tokens = [{"form": "w", "line": 9, "misc": None if mark == "_" else {key: mark}} for mark in marks]
    return mentions(Sentence(Path("a.conllu"), 9, "a-1", tokens, {"global.Entity": "eid-etype-head-other"}))


def test_entities_as_tags():
    found = marked(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "_", "S-ORG", "B-ORG", "E-ORG"], "NER")
    assert [(each.start, each.end, each.type) for each in found] == [
        (0, 2, "PER"), (3, 4, "LOC"), (4, 5, "LOC"), (6, 7, "ORG"), (7, 9, "ORG")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("marks", "key", "message"),
    [
        (["(e1-person-1-", "_"], "Entity", r"line 9: the mention \(e1 is never closed"),
        (["_", "e1)"], "Entity", r"line 9: Entity=e1\) closes 'e1', which is not open"),
        (["X-PER"], "NER", "line 9: NER=X-PER; a tag is O, or B- or I-"),
    ],
)
def test_marks_that_mark_nothing_are_named(marks, key, message):
    with pytest.raises(PalimpsestError, match=message):
        marked(marks, key)


def test_entities_of_a_treebank_are_edges_of_one_span(tmp_path):
    first, second = (row for _, row in read(treebank(tmp_path), "edge", "entity"))
    assert (first["spans"], first["label"], first["id"]) == ([[3, 5]], "person", "a-1/4-5")
    assert (second["spans"], second["label"]) == ([[0, 1]], "person")


LINE = {
    "words": ["Alba", "said", "she", "saw", "Lund", "and", "Riga"], "split": "train",
    "spans": [
        {"from": 0, "to": 1, "type": "person", "entity": "e1"}, {"from": 2, "to": 3, "entity": "e1"},
        {"from": 4, "to": 5, "type": "town", "entity": "e2"}, {"from": 6, "to": 7, "type": "town", "entity": "e3"},
    ],
}  # fmt: skip


def test_spans_in_json_lines_give_entities_and_coreference(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(LINE))
    entities = [row for _, row in spans(tmp_path, {"probe": "mine", "label": "entity"})]
    assert [(row["spans"], row["label"]) for row in entities] == [
        ([[0, 1]], "person"), ([[4, 5]], "town"), ([[6, 7]], "town")
    ]  # fmt: skip
    pairs = [row for _, row in spans(tmp_path, {"probe": "mine", "label": "coreference"})]
    assert Counter(row["label"] for row in pairs) == {"coreferent": 1, "distinct": 1}
    assert pairs[0]["spans"] == [[0, 1], [2, 3]]


def test_spans_that_are_wrong_are_named_by_file_and_line(tmp_path):
    wrong = {
        "out of range: there are 7 words": LINE | {"spans": [{"from": 5, "to": 8}]},
        "a span is": LINE | {"spans": [[0, 1]]},
        "words must be a list of words": LINE | {"words": []},
        "split is 'dev'; it must be one of train, validation, test": LINE | {"split": "dev"},
    }
    for message, record in wrong.items():
        (tmp_path / "a.jsonl").write_text(f"{json.dumps(LINE)}\n{json.dumps(record)}\n")
        with pytest.raises(PalimpsestError, match=rf"a\.jsonl, line 2: .*{message}"):
            list(spans(tmp_path, {"probe": "mine", "label": "entity"}))
    with pytest.raises(PalimpsestError, match=r"mine: label: 'name'\. Write entity or coreference"):
        list(spans(tmp_path, {"probe": "mine", "label": "name"}))


def test_no_entity_of_the_world_is_in_two_splits(tmp_path):
    build(World(people=80, invented=20, documents=64, texts=4, questions_per_subset=4), tmp_path / "world")
    write_probe("entity_type", tmp_path / "entity_type", world=tmp_path / "world", rows=300)
    _, rows = read_probe(tmp_path / "entity_type")
    facts = pandas.read_parquet(tmp_path / "world" / "facts.parquet")
    names, seen = set(facts["person"]), {}
    for row in rows:
        ((start, end),) = row["spans"]
        (entity,) = row["words"][start:end]
        said = parse(" ".join(row["words"]))
        assert row["label"] == ("person" if entity in names else said.attribute)
        assert entity == (said.name if entity in names else said.value)
        assert seen.setdefault(entity, row["split"]) == row["split"]
    assert set(Counter(row["label"] for row in rows).values()) <= {49, 50}


@needs_treebank
def test_a_real_treebank_is_read_whole():
    """Counted beside the reader: lines whose first column is a number, in one of the three files."""
    path = Path(DATA, "data/ud_english_ewt/en_ewt-ud-dev.conllu.gz")
    text = gzip.decompress(path.read_bytes()).decode()
    expected = re.findall(r"^\d+\t([^\t]+)\t[^\t]+\t([A-Z]+)\t", text, flags=re.MULTILINE)
    found = list(sentences(path))
    assert len(found) == len(re.findall("^# sent_id", text, flags=re.MULTILINE)) == 2001
    assert [(token["form"], token["upos"]) for each in found for token in each.tokens] == expected
    definition = {"probe": "mine", "files": {"test": "*-dev.conllu.gz"}}
    trees = list(conllu(path.parent, definition | {"kind": "tree"}))
    assert len(trees) == 2001
    relations = list(conllu(path.parent, definition | {"kind": "edge", "label": "deprel"}))
    assert len(relations) == len(expected) - 2001 - sum(
        token["deprel"] == "punct" for each in found for token in each.tokens
    )


def test_a_treebank_is_data_of_a_probe(tmp_path):
    folder = tmp_path / "root/data/ud_english_ewt"
    folder.mkdir(parents=True)
    _, _, sentence = CONLLU.partition("# sent_id = a-2")
    for split, count in (("train", 20), ("dev", 4), ("test", 8)):
        text = "\n".join(f"# sent_id = {split}-{number}{sentence}" for number in range(count))
        treebank(folder, text, f"en_ewt-ud-{split}.conllu.gz")
    for probe, kind in (("ewt_dependency_tree", "tree"), ("ewt_upos", "word")):
        write_probe(probe, tmp_path / probe, root=tmp_path / "root", rows=20)
        definition, rows = read_probe(tmp_path / probe)
        assert definition["kind"] == kind
        assert Counter(row["split"] for row in rows) == {"train": 12, "validation": 2, "test": 6}
