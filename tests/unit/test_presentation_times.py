"""Where the time went: jobs are told apart by their paths, and summed without loss."""

from __future__ import annotations

import json

import pytest

from palimpsest.presentation import times
from palimpsest.provenance import PalimpsestError


def clock(path, cpu, imports, memory=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    clock = {"cpu_seconds": cpu, "import_cpu_seconds": imports, "wall_seconds": cpu, "peak_memory_bytes": memory}
    path.write_text(json.dumps(clock))


@pytest.fixture
def folder(tmp_path):
    clock(tmp_path / "world.json", 5, 1)
    clock(tmp_path / "train/atlas.json", 400, 2, 900)
    clock(tmp_path / "compress/atlas/gptq/3g64/s0.json", 6, 2)
    clock(tmp_path / "evaluate/atlas/gptq/3g64/s0/none.json", 10, 5)
    clock(tmp_path / "recover/atlas/gptq/3g64/s0/lora-r4.json", 30, 4)
    clock(tmp_path / "analyse.json", 9, 1)
    clock(tmp_path / "figure/time.json", 2, 1)
    return tmp_path


def test_stages_come_in_the_order_of_a_run_and_sum_to_the_total(folder):
    rows = times.collect(folder)
    assert [row.stage for row in rows] == ["sources", "compress", "recover", "evaluate", "analyse", "report", "total"]
    assert sum(row.cpu_seconds for row in rows[:-1]) == rows[-1].cpu_seconds == 462
    assert rows[0].jobs == 2 and rows[0].peak_memory_bytes == 900
    assert rows[-1].import_share == pytest.approx(16 / 462)


@pytest.mark.parametrize(
    ("job", "stage"),
    [("world", "sources"), ("import_model/stories260K", "sources"), ("task_data/closed_book", "data"),
     ("calibrate/atlas/generic/s0", "calibrate"), ("recover/a/b/2-4/s0/prompt-32", "recover"),
     ("evaluate/a/b/2-4/s0/none", "evaluate"), ("probe/tree_depth", "probe"),
     ("floor/atlas", "probe"), ("measure", "measure"), ("tables", "report"),
     ("something/new", "other")],
)  # fmt: skip
def test_a_jobs_path_tells_its_stage(job, stage):
    assert times.stage_of(job) == stage


def test_the_table_in_the_terminal_says_whether_imports_took_under_a_third(folder, capsys):
    times.print_table(times.collect(folder))
    printed = capsys.readouterr().out
    assert "evaluate" in printed and "3% of the CPU time (aim: under a third, kept)" in printed
    clock(folder / "analyse.json", 900, 890)
    times.print_table(times.collect(folder))
    assert "missed" in capsys.readouterr().out


def test_the_csv_has_the_total(folder, tmp_path):
    times.write_csv(times.collect(folder), tmp_path / "times.csv")
    last = (tmp_path / "times.csv").read_text().splitlines()[-1]
    assert last.startswith("total,7,462.0,16.0,") and last.endswith(",0.035")


def test_a_file_that_is_no_clock_is_named(folder):
    (folder / "odd.json").write_text("{}")
    with pytest.raises(PalimpsestError, match=r"odd.json: not a job's clock"):
        times.collect(folder)
