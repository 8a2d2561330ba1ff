"""The report and the paper: whole, self-contained, and the same bytes for the same tables."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import presentation_example as example
import pytest

from palimpsest.presentation import figures, paper, report, style, summary
from palimpsest.presentation.data import Tables
from palimpsest.provenance import PalimpsestError

LOST = ("accuracy", "knowledge_vs_perplexity", "knowledge_bits", "flips")
FIGURES = (*LOST, "recovery", "displaced", "displaced_frequency", "cost", "regimes", "heads", "probes", "unsaid")
FIGURES += ("nli_rate", "probe_rate", "probe_selectivity", "probe_layers")
VOID = {"meta", "link", "br", "img", "hr", "input"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return example.write(tmp_path_factory.mktemp("results") / "example")


@pytest.fixture(scope="module")
def page(folder):
    report.build(folder, folder / "report.html")
    return (folder / "report.html").read_text()


class Reader(HTMLParser):
    """Collects ids, links and headings, and checks that what is opened is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.headings = [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [value for key, value in attributes.items() if key in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_but_itself(page):
    reader = read(page)
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert "<script" not in page and "@import" not in page and not re.search(r"url\((?!#)", page)
    assert re.findall(r"https?://[^\"'<> ]+", page.replace("http://www.w3.org/", "")) == []
    assert len(page.encode()) < report.LARGEST


def test_every_link_leads_somewhere_and_no_id_is_given_twice(page):
    reader = read(page)
    assert len(set(reader.ids)) == len(reader.ids)
    assert {link[1:] for link in reader.links if link.startswith("#") and len(link) > 1} <= set(reader.ids)


def test_answers_come_in_order(page):
    questions = [
        "What was lost",
        "Does perplexity",
        "What came back",
        "How large are recoveries",
        "Do recoveries bring attention",
        "What do the representations",
        "Which claims",
        "What do recoveries cost in time",
        "What does compression buy",
        "Where did the time",
        "How was it",
    ]
    headings = read(page).headings
    assert [heading.startswith(question) for heading, question in zip(headings, questions, strict=True)] == [
        True
    ] * len(questions)


def test_the_headline_numbers_are_those_of_the_tables(page):
    assert "Quantization at 2 bit: gptq 76.0\u00a0% [74.5, 77.5], rtn 53.0\u00a0% [51.5, 54.5]." in page
    assert "5 of 19 cells keep perplexity within 5\u00a0% and lose at least 5 points" in page
    assert "1 supported, 0 contradicted, 2 undecided" in page


def test_the_published_claims_on_recoveries_are_answered_with_this_studys_numbers(page):
    text = page.replace("\u00a0", " ")
    lora = "adapters and smaller prompts: lora-r4 (8,192 parameters)"
    assert f"magnitude 60 %, {lora}: prompt-32 is as accurate with 2.0 times fewer, −2.1 points [−4.1, −0.1]." in text
    assert f"rtn 2 bit, {lora}: none is shown to be as accurate, nearest prompt-32, −5.5 points" in text
    assert "0 of 3 pairs of an adapter that helps and a prompt differ by so much (the most is 2.0 times)." in text
    beside = "Beside the weights, an adapter takes 1.45 [1.45, 1.45] (lora-r4 over prompt-32)"
    assert beside in text and "reached in every round by 0 of 3 pairs" in text


def test_the_caption_says_which_recoveries_move_attention_towards_the_dense_model(page):
    assert "intervals without zero: lora-r4 3 and 0 of 3, prompt-32 0 and 3 of 3." in page


def test_same_tables_give_the_same_page_whatever_the_clock_said(folder, page, tmp_path):
    other = tmp_path / "example"
    shutil.copytree(folder, other)
    clock = other / "times" / "world.json"
    clock.write_text(json.dumps(json.loads(clock.read_text()) | {"cpu_seconds": 77.7}))
    report.build(other, other / "again.html")
    again = (other / "again.html").read_text()
    assert again != page and report.without_measurements(again) == report.without_measurements(page)
    assert report.without_measurements(page).count("<section") == page.count("<section") - 3


def test_a_study_without_a_world_leaves_out_the_questions_it_cannot_answer(tmp_path):
    folder = tmp_path / "stories"
    folder.mkdir()
    example.stories().to_parquet(folder / "metrics.parquet")
    measured = example.measurements()
    measured = measured[(measured["recovery"] == "none") & (measured["model"] == "atlas")].assign(model="stories260K")
    measured.to_parquet(folder / "measurements.parquet")
    report.build(folder, folder / "report.html")
    headings = read((folder / "report.html").read_text()).headings
    assert [heading[:8] for heading in headings] == ["What was", "What doe", "How was "]
    paper.write(folder, folder / "paper.tex")
    assert "figures/language.pdf" in (folder / "paper.tex").read_text()


def test_a_sweep_over_calibrations_is_a_question_of_the_report(tmp_path):
    folder = example.write_swept(tmp_path / "swept")
    report.build(folder, folder / "report.html")
    text = (folder / "report.html").read_text()
    assert [heading[:8] for heading in read(text).headings] == ["What was", "Which ca", "What do ", "How was "]
    assert "wanda 60\u00a0% keeps most closed-book knowledge calibrated on knowledge, 68.5\u00a0% [66.5, 70.5]" in text
    assert "least on random, 59.0\u00a0% [57.0, 61.0]" in text
    assert "worth +3.0 to +3.0 points more to the people whom they speak of" in text
    assert "leaves zero out in 4 of 4 methods and levels" in text
    assert "on biographies of other people keeps more than on random in 4 of 4 methods and levels, less in 0" in text
    paper.write(folder, folder / "paper.tex")
    assert "figures/calibration.pdf" in (folder / "paper.tex").read_text()


def test_a_long_list_names_its_ends_and_says_how_many_are_between():
    assert summary.few(map(str, range(6))) == "0, 1, 2, 3, 4, 5"
    assert summary.few(map(str, range(13))) == "0, 1, 2, … 7 more …, 10, 11, 12"


def test_the_paper_cites_its_methods_and_has_every_figure(folder):
    paper.write(folder, folder / "paper.tex")
    text = (folder / "paper.tex").read_text()
    cited, listed = set(re.findall(r"\\cite\{(\w+)\}", text)), set(re.findall(r"\\bibitem\{(\w+)\}", text))
    assert cited == listed and len(listed) == 7
    assert set(re.findall(r"figures/(\w+)\.pdf", text)) == set(FIGURES)
    assert not re.search(r"\\(VAR|BLOCK)\{", text) and "figures/time" not in text


def test_the_paper_is_typeset_to_the_same_bytes_or_says_what_to_install(folder, tmp_path):
    paper.write(folder, folder / "paper.tex")
    if not paper.can_typeset():
        with pytest.raises(PalimpsestError, match="apt-get install texlive-latex-base"):
            paper.typeset(folder / "paper.tex", folder / "figures", tmp_path / "paper.pdf")
        return
    with pytest.raises(PalimpsestError, match=r"does not find figures/accuracy\.pdf"):
        paper.typeset(folder / "paper.tex", tmp_path / "nowhere", tmp_path / "paper.pdf")
    study = Tables(folder)
    with style.context():
        for name in FIGURES:
            style.save(figures.draw(name, study), tmp_path / f"figures/{name}.pdf")
    for output in ("one.pdf", "two.pdf"):
        paper.typeset(folder / "paper.tex", tmp_path / "figures", tmp_path / output)
    first = (tmp_path / "one.pdf").read_bytes()
    assert first == (tmp_path / "two.pdf").read_bytes() and b"CreationDate" not in first
