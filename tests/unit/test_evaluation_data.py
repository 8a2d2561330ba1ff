"""The `data` rule: rows are checked, and what is wrong is named by file, line and field."""

import json
import re

import pytest

from palimpsest.evaluation import definition
from palimpsest.evaluation.data import read_task, write_task
from palimpsest.provenance import PalimpsestError

ROW = {
    "id": "Alba/town",
    "person": "Alba",
    "question": "where does Alba live ?",
    "answer": "Lund",
    "options": ["Lund", "Faro"],
}


def world_of(folder, task, *lines):
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
    (folder / "tasks" / f"{task}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"doc_to_text": "questoin"}, "doc_to_text: 'questoin' is no field .* Did you mean 'question'"),
        ({"doc_to_target": "anser"}, "doc_to_target: 'anser' .* Did you mean 'answer'"),
        ({"output_type": "generat_until"}, "output_type: 'generat_until' .* Did you mean 'generate_until'"),
        ({"task": "other"}, "Write `task: mine`"),
        ({"metric_list": [{"metric": "acc"}]}, "'acc' is no metric of generate_until. Write exact_match"),
        ({"metadata": []}, "metadata: write e.g."),
        ({"metadata": {"palimpsest": {"source": "folder", "required": ["question", "answer"]}}}, "needs `path:`"),
        ({"doc_to_text": None}, "'doc_to_text' is missing"),
    ],
)
def test_a_mistake_in_a_task_file_is_named(change, message):
    from palimpsest.evaluation import definition

    task = definition.shipped("closed_book") | {"task": "mine"} | change
    task = {key: value for key, value in task.items() if value is not None}
    assert re.search(message, " ".join(definition.problems("mine", task)))


def test_rows_come_back_as_they_were(tmp_path):
    write_task("closed_book", tmp_path / "closed_book", world=world_of(tmp_path / "world", "closed_book", ROW))
    wanted, rows = read_task(tmp_path / "closed_book")
    assert rows == [ROW]
    assert wanted["dataset_kwargs"]["data_files"]["test"] == str(tmp_path / "closed_book" / "closed_book.jsonl")


def without(field):
    return {key: value for key, value in ROW.items() if key != field}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (without("answer"), "line 2: the field 'answer' is missing"),
        (without("id"), "line 2: the field 'id' is missing"),
        (ROW, "line 2: the id 'Alba/town' is that of .*line 1"),
        (ROW | {"id": "b", "answer": " "}, "line 2: the field 'answer' is empty"),
        (ROW | {"id": "b", "answer": 1987}, "line 2: the field 'answer' is 1987; it must be a string"),
        (ROW | {"id": "b", "options": ["Lund", ""]}, "line 2: the field 'options' has an empty option"),
        (ROW | {"id": "b", "options": ["Lund", "Lund"]}, "line 2: the field 'options' has the same option twice"),
        (ROW | {"id": "b", "answer": "Torun"}, "line 2: the answer 'Torun' is none of the options"),
        (ROW | {"id": "b", "person": 3}, "line 2: the field 'person' is 3; it must be a string"),
        ('{"id": "b",', "line 2: not JSON"),
        ('["b"]', "line 2: a list; each line must be a JSON object"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, second, message):
    world = world_of(tmp_path / "world", "closed_book", ROW, second)
    with pytest.raises(PalimpsestError, match=f"closed_book.jsonl, {message}"):
        write_task("closed_book", tmp_path / "closed_book", world=world)
    assert not (tmp_path / "closed_book").exists()


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    world = world_of(tmp_path / "world", "closed_book", ROW)
    with open(world / "tasks" / "closed_book.jsonl", "ab") as file:
        file.write('{"id": "Łódź"}'.encode("iso8859-2"))
    with pytest.raises(PalimpsestError, match="line 2: not UTF-8"):
        write_task("closed_book", tmp_path / "closed_book", world=world)


def test_a_task_without_rows_is_an_error(tmp_path):
    with pytest.raises(PalimpsestError, match="without rows"):
        write_task("closed_book", tmp_path / "closed_book", world=world_of(tmp_path / "world", "closed_book", ""))


def test_entailment_has_neither_place_for_the_truth(tmp_path):
    rows = [{"id": str(number), "premise": "a cat .", "true": "yes", "false": "no"} for number in range(200)]
    write_task("entailment", tmp_path / "entailment", world=world_of(tmp_path / "world", "entailment", *rows))
    _, found = read_task(tmp_path / "entailment")
    first = sum(row["options"][0] == row["answer"] for row in found)
    assert 70 < first < 130
    assert all(row["answer"] == "yes" for row in found)


def test_missing_data_says_to_set_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("PALIMPSEST_DATA", raising=False)
    with pytest.raises(PalimpsestError, match="PALIMPSEST_DATA, which is not set"):
        write_task("blimp", tmp_path / "blimp")
    with pytest.raises(PalimpsestError, match=r"no folder .*data/blimp. Set PALIMPSEST_DATA"):
        write_task("blimp", tmp_path / "blimp", root=tmp_path)


def test_a_world_task_in_a_study_without_world_is_an_error(tmp_path):
    with pytest.raises(PalimpsestError, match="the study has none"):
        write_task("closed_book", tmp_path / "closed_book")


def test_an_unknown_task_is_named_with_the_nearest_known_one(tmp_path):
    with pytest.raises(PalimpsestError, match="Did you mean 'closed_book'"):
        write_task("closed_bok", tmp_path / "x")


def test_blimp_has_a_subset_a_file_and_whole_sentences(tmp_path):
    folder = tmp_path / "data" / "blimp"
    folder.mkdir(parents=True)
    pair = {"sentence_good": "A cat sees it.", "sentence_bad": "A cat see it.", "linguistics_term": "agreement"}
    (folder / "agreement_1.jsonl").write_text("".join(json.dumps(pair | {"pairID": str(n)}) + "\n" for n in range(3)))
    write_task("blimp", tmp_path / "blimp", root=tmp_path)
    _, rows = read_task(tmp_path / "blimp")
    assert [row["id"] for row in rows] == ["agreement_1/0", "agreement_1/1", "agreement_1/2"]
    assert {(row["subset"], row["subject"], row["answer"]) for row in rows} == {
        ("agreement_1", "agreement", "A cat sees it.")
    }


def test_stories_are_cut_where_they_begin(tmp_path):
    folder = tmp_path / "data" / "tinystories"
    folder.mkdir(parents=True)
    (folder / "tinystories_sample.txt").write_text("\nOne .\n<|endoftext|>\nTwo .\n\nEnd .\n<|endoftext|>\n")
    (folder / "tinystories.txt").write_text("the end .\n\nOnce upon a time a .\n\nb .\n\nOnce upon a time c .\n")
    write_task("perplexity_tinystories", tmp_path / "perplexity_tinystories", root=tmp_path)
    _, rows = read_task(tmp_path / "perplexity_tinystories")
    assert [(row["id"], row["text"], row.get("window")) for row in rows] == [
        ("five/0", "One .", None),
        ("five/1", "Two .\n\nEnd .", None),
        ("sample/0", "Once upon a time a .\n\nb .", 256),
        ("sample/1", "Once upon a time c .", 256),
    ]


def test_a_task_file_that_would_run_code_is_refused(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "mine.yaml").write_text("task: mine\noutput_type: generate_until\ndoc_to_target: !function os.getcwd\n")
    with pytest.raises(PalimpsestError, match="plain YAML"):
        read_task(folder)


def test_every_shipped_task_is_whole():
    for name in definition.names():
        wanted = definition.shipped(name)
        assert wanted["task"] == name
        assert wanted["dataset_kwargs"]["data_files"]["test"] == f"{name}.jsonl"
        assert definition.ours(wanted)["required"]
