"""Rows of probes: read from SentEval's files or made by the grammar, checked, drawn; and what is refused."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from palimpsest import settings
from palimpsest.grid import Grid
from palimpsest.probing import data, definition
from palimpsest.provenance import DamagedArtifact, PalimpsestError
from palimpsest.world import probes as world_probes

ROOT = Path(__file__).parents[2]
STUDIES = (ROOT / "studies").glob("*.yaml")

REAL = os.environ.get("PALIMPSEST_DATA")
LETTERS = {"train": "tr", "validation": "va", "test": "te"}


def lines(train=60, validation=10, test=30, labels=("NN", "NNS")) -> list[str]:
    """A file in SentEval's format: every sentence another."""
    splits = ["tr"] * train + ["va"] * validation + ["te"] * test
    return [f"{split}\t{labels[n % len(labels)]}\tthe dog number {n} sleeps ." for n, split in enumerate(splits)]


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the lines as the file of a probe `numbers`, and its rows; returns the rows."""
    wanted = {"probe": "numbers", "kind": "sentence", "source": "folder", "path": "files", "reader": "senteval",
              "file": "numbers.txt", "summary": "x"}  # fmt: skip
    monkeypatch.setattr(definition, "probes", lambda: {"numbers": wanted})

    def written(text: list[str], rows: int = 2000) -> list[dict]:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / "numbers.txt").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        data.write_probe("numbers", tmp_path / "numbers", root=tmp_path, rows=rows)
        said, found = data.read_probe(tmp_path / "numbers")
        assert said == wanted
        return found

    return written


def test_every_line_is_a_row_with_its_number(write):
    found = write(lines())
    assert len(found) == 100
    row = {"id": "62", "text": "the dog number 61 sleeps .", "label": "NNS", "split": "validation"}
    assert found[61] == row | {"key": found[61]["key"]}


def test_rows_are_drawn_by_label_and_split_and_are_the_same_each_time(write):
    text = lines(700, 100, 200, labels=("a", "a", "a", "b"))
    found = write(text, rows=200)
    assert Counter(row["split"] for row in found) == {"train": 120, "validation": 20, "test": 60}
    assert Counter(row["label"] for row in found if row["split"] == "test") == {"a": 45, "b": 15}
    assert found == write(text, rows=200)
    assert {row["id"] for row in write(text, rows=100)} < {row["id"] for row in found}


def test_where_a_split_is_small_all_of_it_is_taken_and_training_has_the_rest(write):
    assert Counter(row["split"] for row in write(lines(900, 50, 50), rows=300)) == {
        "train": 220, "validation": 30, "test": 50
    }  # fmt: skip


def test_rare_labels_are_drawn_at_least_once_in_each_split(write):
    text = lines(900, 100, 300)
    text[3], text[905], text[1005] = (line.replace("NNS", "rare") for line in (text[3], text[905], text[1005]))
    rare = {row["split"] for row in write(text, rows=100) if row["label"] == "rare"}
    assert rare == {"train", "validation", "test"}


def test_a_sentence_that_stands_twice_is_kept_once(write):
    text = [*lines(), "te\tNN\tthe dog number 0 sleeps ."]
    assert len(write(text)) == 100


def test_the_key_of_a_sentence_is_a_content_word_that_recurs(write):
    text = lines(200, 30, 70)
    for place in (5, 6, 7):
        text[place] = f"tr\tNN\tthe castle stands number {place} ."
    found = write([line.replace("number", "of") for line in text])
    assert [found[place]["key"] for place in (5, 6, 7)] == ["stands"] * 3
    assert found[9]["key"] == ""  # no word of it is rare enough to be a content word


BAD = [
    ("one class", lines(labels=("NN",)), "every row has the label 'NN'"),
    ("three rows", lines(1, 1, 1), r"too few rows \(1 for train, 1 for validation, 1 for test\)"),
    ("no test", lines(60, 10, 0), "0 for test"),
    ("unknown label", [*lines(), "te\tVB\tdogs run ."], "row 101 for test has the label 'VB', which no row for train"),
    ("empty sentence", [*lines(), "tr\tNN\t "], "numbers.txt, line 101: an empty sentence"),
    ("two columns", [*lines(), "tr\tdogs run ."], "line 101: 2 columns; write three"),
    ("four columns", [*lines(), "tr\tNN\tdogs\trun ."], "line 101: 4 columns"),
    ("no split", [*lines(), "dev\tNN\tdogs run ."], "line 101: 'dev' is none of tr, va, te"),
    ("no label", [*lines(), "tr\t\tdogs run ."], "line 101: an empty label"),
    ("two labels", [*lines(), "tr\tNNS\tthe dog number 0 sleeps ."],
     "line 101: the sentence .* 'NNS', but 'NN' at .*line 1"),
    ("a class missing", [*lines(test=0), *(f"te\tNN\tcats number {n} ." for n in range(9))],
     "all rows for test have the label 'NN'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_refused(write, text, said):
    with pytest.raises(PalimpsestError, match=said):
        write(text)


def test_fewer_rows_than_labels_are_refused(write):
    with pytest.raises(PalimpsestError, match=r"probes.numbers.rows: of 10 rows .* Write at least"):
        write(lines(400, 100, 100, labels=tuple("abcdefgh")), rows=10)


def test_without_the_file_the_folder_or_a_world_it_says_so(tmp_path):
    with pytest.raises(PalimpsestError, match=r"no folder .*probing_ewt"):
        data.write_probe("ewt_tree_depth", tmp_path / "a", root=tmp_path)
    (tmp_path / "data" / "probing_ewt").mkdir(parents=True)
    with pytest.raises(PalimpsestError, match=r"tree_depth\.txt: there is no such file"):
        data.write_probe("ewt_tree_depth", tmp_path / "a", root=tmp_path)
    with pytest.raises(PalimpsestError, match="from a world, and the study has none"):
        data.write_probe("tree_depth", tmp_path / "a")


def test_a_changed_row_is_found(write, tmp_path):
    write(lines())
    path = tmp_path / "numbers" / "rows.jsonl"
    path.write_text(path.read_text().replace("number 7 ", "number 8 "))
    with pytest.raises(DamagedArtifact):
        data.read_probe(tmp_path / "numbers")


SENTENCES = tuple(world_probes.TASKS)


@pytest.fixture(scope="module")
def of_world():
    return {name: world_probes.rows(definition.probes()[name], seed=0, most=600) for name in SENTENCES}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_probe_of_the_world_has_every_label_equally_often_in_each_split(of_world, name):
    found = of_world[name]
    assert 0.9 * 600 <= len(found) <= 600
    labels = {row["label"] for row in found}
    for split, share in (("train", 0.6), ("validation", 0.1), ("test", 0.3)):
        counts = Counter(row["label"] for row in found if row["split"] == split)
        assert set(counts) == labels and max(counts.values()) - min(counts.values()) <= 1
        assert abs(counts.total() / len(found) - share) < 0.05
    assert len({row["id"] for row in found}) == len({row["text"] for row in found}) == len(found)


# Chance and what a bag of words may reach: more than that, and the probe reads a cue that is beside the point.
BAGS = {
    "tree_depth": 0.6, "top_constituents": 0.9, "bigram_shift": 0.6, "past_present": 0.88, "subj_number": 0.92,
    "obj_number": 0.92, "odd_man_out": 0.6, "coordination_inversion": 0.6,
}  # fmt: skip


@pytest.mark.parametrize("name", BAGS)
def test_neither_length_nor_a_bag_of_words_gives_the_label_away(of_world, name):
    train, test = ([row for row in of_world[name] if (row["split"] == "test") == held] for held in (False, True))
    gold, chance = [row["label"] for row in test], 1 / len({row["label"] for row in test})
    bag = CountVectorizer(token_pattern=r"\S+").fit([row["text"] for row in train])
    length = [np.eye(40)[[len(row["text"].split()) for row in rows]] for rows in (train, test)]
    for most, (seen, asked) in (
        (BAGS[name], [bag.transform([row["text"] for row in rows]) for rows in (train, test)]),
        (chance + 0.1, length),
    ):
        probe = LogisticRegression(max_iter=300).fit(seen, [row["label"] for row in train])
        assert probe.score(asked, gold) < most


def test_labels_are_what_the_tasks_say(of_world):
    for row in of_world["sentence_length"]:
        low, _, high = row["label"].partition("-")
        assert int(low) <= len(row["text"].split()) <= int(high or (low if "-" not in row["label"] else 99))
    assert all(row["label"] in row["text"].split() for row in of_world["word_content"])
    joined = [row["text"].split() for row in of_world["coordination_inversion"]]
    assert all("that" in words and words[-1] == "." for words in joined)
    odd = Counter((row["label"], row["text"].split().count("the") > 0) for row in of_world["odd_man_out"])
    assert odd["C", True] and odd["O", True]


@pytest.mark.parametrize("kind", ["word", "edge", "tree"])
def test_words_relations_and_trees_come_from_the_same_grammar(kind):
    found = world_probes.rows({"probe": "any", "kind": kind}, seed=0, most=300)
    assert len(found) == 300
    for row in found:
        if kind == "word":
            assert len(row["labels"]) == len(row["words"]) and row["labels"][-1] == "."
        elif kind == "tree":
            assert len(row["heads"]) == len(row["words"]) and row["heads"].count(0) == 1
        else:
            assert len(row["spans"]) == 2 and all(0 <= a < b <= len(row["words"]) for a, b in row["spans"])
    data.check("any", kind, found)


@pytest.mark.parametrize("most", [100, 300, 600, 1000])
def test_every_relation_that_is_tested_was_trained_on_however_few_rows_there_are(most):
    for seed in (0, 1):
        rows = world_probes.rows(definition.probes()["dependency"], seed, most)
        of = {split: {row["label"] for row in rows if row["split"] == split} for split in data.SHARES}
        assert of["validation"] | of["test"] <= of["train"]
        data.check("dependency", "edge", rows)
        counts = Counter(row["split"] for row in rows)
        assert counts["test"] == pytest.approx(0.3 * most, rel=0.25)


@pytest.mark.parametrize("study", ["config.yaml", *sorted(str(path.relative_to(ROOT)) for path in STUDIES)])
def test_words_relations_and_trees_of_the_shipped_studies_can_be_drawn_at_their_rows(study):
    grid = Grid(settings.read(ROOT / study))
    for name, options in grid.probes.items():
        wanted = definition.probes()[name]
        if wanted["source"] == "world" and wanted["kind"] in ("word", "edge", "tree") and name != "entity_type":
            rows = world_probes.rows(wanted, grid.study.world.seed, options.rows)
            data.check(name, wanted["kind"], data.draw(rows, options.rows))


def test_rows_of_a_world_depend_on_its_seed_alone(tmp_path):
    (tmp_path / "world").mkdir()
    for number, seed in enumerate((0, 0, 1)):
        (tmp_path / "world" / "world.json").write_text(json.dumps({"seed": seed}))
        data.write_probe("bigram_shift", tmp_path / str(number) / "bigram_shift", world=tmp_path / "world", rows=100)
    first, again, other = ((tmp_path / name / "bigram_shift" / "rows.jsonl").read_text() for name in "012")
    assert first == again != other


@pytest.mark.skipif(not REAL, reason="PALIMPSEST_DATA is not set")
@pytest.mark.parametrize("name", definition.members("probing_ewt"))
def test_ten_probes_of_a_treebank_are_read_whole(name, tmp_path):
    if not Path(REAL, "data", "probing_ewt").is_dir():
        pytest.skip("PALIMPSEST_DATA has no data/probing_ewt")
    data.write_probe(name, tmp_path / name)
    _, found = data.read_probe(tmp_path / name)
    path = Path(REAL, "data", "probing_ewt", definition.probes()[name]["file"])
    written = set(path.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    assert len(found) == min(2000, len(written))
    assert {f"{LETTERS[row['split']]}\t{row['label']}\t{row['text']}" for row in found} <= written
