"""What every script does: times, one thread, and errors that a person can read."""

import json
import subprocess
import sys
import textwrap


def script(tmp_path, body, *arguments):
    """Run a script whose `main` has this body; return the finished process."""
    file = tmp_path / "toy.py"
    file.write_text(
        "import argparse\nfrom palimpsest import job\n"
        f"def main(args):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        "if __name__ == '__main__':\n    job.run(main, argparse.ArgumentParser(prog='toy'))\n"
    )
    return subprocess.run([sys.executable, str(file), *arguments], capture_output=True, text=True, cwd=tmp_path)


def test_times_tell_imports_from_work(tmp_path):
    body = """
    import decimal, json.tool, email.mime.text, xml.dom.minidom
    total = 0
    for number in range(3_000_000): total += number
    """
    assert script(tmp_path, body, "--times", "times.json").returncode == 0
    times = json.loads((tmp_path / "times.json").read_text())
    assert 0 < times["import_cpu_seconds"] < times["cpu_seconds"]
    assert times["peak_memory_bytes"] > 1_000_000


def test_every_job_runs_on_one_thread(tmp_path):
    result = script(tmp_path, "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])")
    assert result.stdout == "1 1\n"


def test_a_users_mistake_is_one_message_without_traceback(tmp_path):
    result = script(tmp_path, "from palimpsest.provenance import PalimpsestError\nraise PalimpsestError('x.json: no')")
    assert (result.returncode, result.stderr) == (1, "toy: x.json: no\n")


def test_a_full_disk_says_so_and_keeps_nothing(tmp_path):
    # /dev/full answers every write with "no space left on device".
    body = """
    from palimpsest.provenance import atomic_file
    with atomic_file('answers.parquet') as temporary:
        temporary.unlink(); temporary.symlink_to('/dev/full')
        temporary.write_bytes(b'x')
    """
    result = script(tmp_path, body, "--times", "times.json")
    assert result.returncode == 1
    assert "the disk is full" in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "answers.parquet").exists() and not (tmp_path / "times.json").exists()


def test_a_bug_keeps_its_traceback(tmp_path):
    assert "ZeroDivisionError" in script(tmp_path, "1 / 0").stderr
