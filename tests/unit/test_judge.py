"""The judge: what it is asked, what follows from its likelihoods, and how far it is to be believed."""

import copy
import json
import math

import numpy
import pandas
import pytest

from palimpsest.analysis import judged
from palimpsest.evaluation import judge, reviews
from palimpsest.evaluation.data import write_task
from palimpsest.provenance import PalimpsestError

VARIANT = {"model": "m", "label": "rtn", "method": "rtn", "level": "4", "seed": 0, "recovery": "none"}


class Judge:
    """A language model whose log-likelihoods are a function of prompt and continuation."""

    tokenizer, max_length = None, 90

    def __init__(self, says):
        self.says, self.prompts = says, []

    def tok_encode(self, text):
        return text.split()

    def loglikelihood(self, requests):
        self.prompts += [request.args[0] for request in requests]
        return [(self.says(*request.args), False) for request in requests]


def prefers_good(prompt, option):
    """The letter of the assistant whose answer has the word good; a grade near 8 where it is there, else near 2."""
    if option.endswith("/10"):
        return -abs(int(option.removesuffix("/10")) - (8 if "good" in prompt else 2))
    letter = option.strip()
    answer = prompt.split(f"[The Start of Assistant {letter}'s Answer]")[1].split("[The End")[0]
    return 1.0 if "good" in answer else 0.0


def pairs(*answers):
    return [judge.Pair(str(number), "how?", first, second) for number, (first, second) in enumerate(answers)]


def test_the_preferred_answer_wins_in_whichever_order_it_stands():
    asked = pairs(("bad", "good"), ("good", "bad"), ("bad", "bad"), ("good", "good"))
    found = judge.verdicts(Judge(prefers_good), "t", asked)
    assert found == [(1.0, True), (0.0, True), (0.5, False), (0.5, False)]


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_prefers_a_place_finds_ties_only(letter):
    model = Judge(lambda prompt, option: float(option == f" {letter}"))
    assert judge.verdicts(model, "t", pairs(("x", "y"), ("y", "x"))) == [(0.5, False)] * 2


def test_a_grade_is_the_expected_value_under_the_likelihoods_of_one_to_ten():
    says = {grade: 0.3 * grade - 0.05 * grade**2 for grade in range(1, 11)}
    (grade,) = judge.grades(Judge(lambda _, option: says[int(option.strip().split("/")[0])]), "t", pairs((None, "x")))
    weights = {grade: math.exp(score) for grade, score in says.items()}
    assert grade == pytest.approx(sum(g * w for g, w in weights.items()) / sum(weights.values()))
    (even,) = judge.grades(Judge(lambda *_: -3.0), "t", pairs((None, "x")))
    assert even == pytest.approx(5.5)


def test_a_real_models_preference_is_that_of_its_next_token(tiny_model_folder):
    """Against transformers' own forward pass, for words that its tokenizer has."""
    import torch

    model = judge.load(tiny_model_folder)
    prompt, options = "the old dog sees", (" river", " cat")
    (shares,) = judge._shares(model, "t", [prompt], options)
    ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = model.model(ids).logits[0, -1].double()
    expected = logits[[model.tokenizer.convert_tokens_to_ids(option.strip()) for option in options]].softmax(-1)
    assert shares == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_chat_template_wraps_what_is_asked(tiny_tokenizer):
    class Templated(Judge):
        tokenizer = copy.deepcopy(tiny_tokenizer)

    Templated.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    model = Templated(lambda *_: 0.0)
    judge.grades(model, "t", pairs((None, "x")))
    assert model.prompts[0].startswith("<user>[Question]\nhow?") and model.prompts[0].endswith(
        f"<assistant>{judge.SINGLE_OPENING}"
    )


def judged_task(root):
    folder = root / "data/mt_bench/mt_bench"
    folder.mkdir(parents=True)
    (folder / "question.jsonl").write_text(json.dumps({"question_id": 81, "turns": ["Write.", "Again."]}) + "\n")
    write_task("mt_bench", root / "tasks/mt_bench", root=root)
    return [root / "tasks/mt_bench"]


def answers_of(first, second, **variant):
    rows = [{"task": "mt_bench", "question": f"81/{turn}", "answer": text} for turn, text in ((1, first), (2, second))]
    return pandas.DataFrame(rows).assign(**(VARIANT | variant))


def test_answers_are_judged_against_the_dense_models_and_second_turns_with_the_first(tmp_path):
    model = Judge(prefers_good)
    table = judge.judgements(model, judged_task(tmp_path), answers_of("good one", "bad"), answers_of("bad", "worse"))
    # The second turn is read with the first answer, which is good.
    assert list(table["outcome"]) == [1.0, 1.0] and list(table["agree"]) == [1.0, 1.0]
    assert table["grade"].between(7, 8.5).all()
    assert list(table["subset"]) == ["turn 1", "turn 2"] and list(table["passage"]) == ["81", "81"]
    conversation = "good one\n\n### User:\nAgain.\n\n### Assistant:\nbad"
    assert any(conversation in prompt for prompt in model.prompts)


def test_the_dense_model_is_graded_and_compared_with_nothing(tmp_path):
    table = judge.judgements(Judge(prefers_good), judged_task(tmp_path), answers_of("a", "b"), None)
    assert table["outcome"].isna().all() and table["grade"].notna().all()


def test_what_a_judge_cannot_read_whole_is_counted(tmp_path):
    table = judge.judgements(Judge(prefers_good), judged_task(tmp_path), answers_of("a", "long " * 90), None)
    assert list(table["truncated"]) == [0.0, 1.0]


def study(**changes):
    from palimpsest import settings

    mapping = {
        "name": "judged",
        "models": {"stories": {"source": "folder", "path": "models/stories260K"}},
        "tasks": ["vicuna_bench", "popqa"],
        "judge": "stories",
    }
    return settings.load(mapping | changes, "my.yaml")


def test_only_a_judge_brings_judged_tasks_and_their_table():
    from palimpsest.grid import Grid
    from palimpsest.presentation import names

    assert Grid(study()).judged_tasks == ["vicuna_bench"]
    assert "judge" in names.table_names(study())
    assert Grid(study(judge=None)).judged_tasks == []
    assert "judge" not in names.table_names(study(judge=None))


def test_a_judge_that_is_no_model_or_has_nothing_to_judge_is_refused():
    with pytest.raises(PalimpsestError, match=r"(?s)judge: no model .storeis..*stories"):
        study(judge="storeis")
    with pytest.raises(PalimpsestError, match=r"(?s)judge: no task of this study is judged; .*summaries"):
        study(tasks=["popqa"])


# -- agreement with what GPT-4 said


def stored(folder, scores, firsts=True, tail="\n\nChatGpt score: 8.2\t Ours: 7.8"):
    def write(path, rows, end=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + end)

    number = range(1, len(scores) + 1)
    write(folder / "question.jsonl", [{"question_id": n, "text": f"question {n}"} for n in number])
    if firsts:
        write(folder / "answer.jsonl", [{"question_id": n, "text": f"first {n}"} for n in number])
    write(folder / "wanda/answer_0.0.jsonl", [{"question_id": n, "text": f"second {n}"} for n in number])
    reviews_ = [{"question_id": n, "text": "", "score": score} for n, score in zip(number, scores, strict=True)]
    write(folder / "wanda/answer_0.0_evaluation.jsonl", reviews_, tail)
    return folder


def test_published_judgements_are_read_and_those_that_were_not_parsed_left_out(tmp_path):
    criteria = {"coherence": [8.0, 7.0], "relevance": [9.0, 8.0]}
    found = reviews.read_reviews(stored(tmp_path, [[9, 8], [-1, -1], [7.0, 7.0], criteria, [6, 9]]))
    assert [review.scores for review in found] == [(9, 8), (7, 7), (8.5, 7.5), (6, 9)]
    assert [review.outcome for review in found] == [0.0, 0.5, 0.0, 1.0]
    last = found[-1].pair
    assert (last.question, last.first, last.second) == ("question 5", "first 5", "second 5")
    assert last.id == "wanda/answer_0.0_evaluation.jsonl/5"


def test_a_folder_without_judgements_has_none(tmp_path):
    assert reviews.read_reviews(tmp_path) == []


def test_judgements_without_answers_or_of_another_form_are_errors_that_name_them(tmp_path):
    with pytest.raises(PalimpsestError, match=r"line 2: the score \[9\] is no pair"):
        reviews.read_reviews(stored(tmp_path / "a", [[9, 8], [9]]))
    with pytest.raises(PalimpsestError, match="line 2: not JSON"):
        reviews.read_reviews(stored(tmp_path / "b", [[9, 8]], tail="oops"))
    folder = stored(tmp_path / "c", [[9, 8]])
    (folder / "wanda/answer_0.0.jsonl").unlink()
    with pytest.raises(PalimpsestError, match=r"the answers that it judges, answer_0\.0\.jsonl, are not beside it"):
        reviews.read_reviews(folder)


def test_without_the_first_answers_only_grades_are_compared(tmp_path):
    found = reviews.read_reviews(stored(tmp_path, [[9, 8], [7, 7]], firsts=False))
    table = reviews.judged_again(Judge(prefers_good), {"summaries": found})
    assert table["outcome"].isna().all() and list(table["stored_grade"]) == [8, 7]
    assert table["grade"].between(1, 10).all()


def test_kappa_is_agreement_beyond_chance():
    names = pandas.Series([f"run/{number}" for number in range(6)])
    ours, theirs = pandas.Series([2, 2, 0, 0, 1, 2]), pandas.Series([2, 0, 0, 0, 1, 2])
    found = judged.kappa(theirs, ours, names, 3)
    agreed, chance = 5 / 6, (3 * 2 + 2 * 3 + 1 * 1) / 36
    assert found.value == pytest.approx((agreed - chance) / (1 - chance)) and found.n == 6
    assert found.low <= found.value <= found.high
    assert judged.kappa(ours, ours, names, 3).value == 1


@pytest.mark.parametrize("weights", [None, "quadratic"])
def test_kappas_of_resampled_tables_are_scikit_learns(weights):
    from sklearn.metrics import cohen_kappa_score

    random = numpy.random.default_rng(2)
    said = random.integers(0, 5, size=(6, 2, 40))
    counts = numpy.zeros((6, 5, 5))
    for number, (theirs, ours) in enumerate(said):
        numpy.add.at(counts[number], (theirs, ours), 1)
    expected = [cohen_kappa_score(*pair, labels=range(5), weights=weights) for pair in said]
    assert judged.kappas(counts, weights) == pytest.approx(expected)


def test_a_worthless_judge_has_a_kappa_of_about_zero():
    random = numpy.random.default_rng(0)
    theirs, ours = (pandas.Series(random.choice([0, 1, 2], size=240, p=[0.5, 0.2, 0.3])) for _ in range(2))
    names = pandas.Series([f"run{number // 80}/{number % 80}" for number in range(240)])
    found = judged.kappa(theirs, ours, names, 3)
    assert abs(found.value) < 0.1 and found.low < 0 < found.high
    always_ties = judged.kappa(theirs, pandas.Series([1] * 240), names, 3)
    assert always_ties.value == 0


def test_one_question_that_was_judged_three_times_widens_the_interval():
    random = numpy.random.default_rng(1)
    theirs, ours = (pandas.Series(numpy.tile(random.choice([0, 2], size=30), 3)) for _ in range(2))
    once = pandas.Series([f"run/{number}" for number in range(90)])
    thrice = pandas.Series([f"run{number // 30}/{number % 30}" for number in range(90)])
    alone, together = (judged.kappa(theirs, ours, names, 3) for names in (once, thrice))
    assert together.high - together.low > 1.4 * (alone.high - alone.low)


def scores(tmp_path, found, answers, dense):
    model, folders = Judge(prefers_good), judged_task(tmp_path)
    reviews.judged_again(model, found).to_parquet(tmp_path / "agreement.parquet")
    tables = {"rtn": (answers, dense), "dense": (dense, None)}
    for label, (ours, theirs) in tables.items():
        judge.judgements(model, folders, ours, theirs).assign(**(VARIANT | {"label": label})).to_parquet(
            tmp_path / f"{label}.parquet"
        )
    return judged.scores([tmp_path / f"{label}.parquet" for label in tables], tmp_path / "agreement.parquet")


def test_every_judged_score_has_the_judges_kappa_beside_it(tmp_path):
    found = reviews.read_reviews(stored(tmp_path / "stored", [[9, 8], [7, 7], [6, 9]]))
    table = scores(tmp_path, {"mt_bench": found}, answers_of("good", "x"), answers_of("bad", "y"))
    assert set(table["scoring"]) == {"judge"}
    every = table[table["subset"] == "all"].pivot(index="label", columns="metric", values="value")
    assert every.loc["rtn", "judge_win_rate"] == 1.0 and math.isnan(every.loc["dense", "judge_win_rate"])
    assert every["judge_kappa"].nunique() == 1 and every["judge_kappa"].notna().all()
    assert table.loc[table["metric"] == "judge_kappa", "n"].unique() == [3]


def test_without_stored_judgements_kappa_is_missing_and_the_table_says_so(tmp_path):
    from palimpsest.presentation import available, tables
    from palimpsest.presentation.data import Tables
    from palimpsest.presentation.summary import judged as sentences
    from palimpsest.presentation.tables.latex import as_csv

    rows = scores(tmp_path, {"mt_bench": []}, answers_of("good", "x"), answers_of("bad", "y"))
    kappas = rows[rows["metric"] == "judge_kappa"]
    assert kappas["value"].isna().all() and (kappas["n"] == 0).all()
    rows.loc[rows["label"] == "dense", ["method", "level"]] = ["dense", "full"]
    rows.assign(layer="").to_parquet(tmp_path / "metrics.parquet")
    study = Tables(tmp_path)
    assert "judge" in available.tables_of(study)
    text = as_csv(tables.make("judge", study))
    assert text.count("no stored judgements") == 4  # two cells, two κ
    assert "no stored judgements of GPT-4's are at hand" in sentences(study)[0]


def script(name):
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_jobs_of_a_study_judge_and_judge_again_from_what_they_are_given(tmp_path, tiny_model_folder, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    answers_of("the cat", "a dog").to_parquet(tmp_path / "ours.parquet")
    answers_of("a house", "the river", label="dense").to_parquet(tmp_path / "dense.parquet")
    (folder,) = judged_task(tmp_path)
    stored(tmp_path / "stored", [[9, 8], [7, 9]])
    shared = ["--judge", str(tiny_model_folder), "--cache", str(tmp_path / "store")]

    def run(name, *arguments):
        module, output = script(name), tmp_path / f"{name}.parquet"
        module.main(module.parser().parse_args([*shared, *arguments, "--output", str(output)]))
        return pandas.read_parquet(output)

    given = ["--answers", str(tmp_path / "ours.parquet"), "--dense", str(tmp_path / "dense.parquet")]
    table = run("judge", *given, "--tasks", str(folder))
    assert list(table.columns[:6]) == list(VARIANT) and list(table["label"]) == ["rtn", "rtn"]
    assert table["grade"].between(1, 10).all() and set(table["outcome"]) <= {0.0, 0.5, 1.0}
    pandas.testing.assert_frame_equal(table, run("judge", *given, "--tasks", str(folder)))  # from the cache
    again = run("agreement", "--stored", f"mt_bench={tmp_path / 'stored'}", f"summaries={tmp_path / 'none'}")
    assert list(again["stored_outcome"]) == [0.0, 1.0] and list(again["stored_grade"]) == [8.0, 9.0]
    assert len(run("agreement")) == 0
