"""Digests and atomic writes: nothing half-written has its final name, and one flipped byte is found."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from palimpsest.provenance import (
    DIGESTS,
    DamagedArtifact,
    PalimpsestError,
    atomic_file,
    atomic_folder,
    digest_json,
    folder_digest,
    read_json,
    verify_folder,
)


def write(folder, content=b"weights"):
    with atomic_folder(folder) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "data.bin").write_bytes(content)


def test_folder_appears_whole_with_its_digests(tmp_path):
    write(tmp_path / "artifact")
    assert read_json(tmp_path / "artifact" / DIGESTS).keys() == {"inner/data.bin"}
    assert verify_folder(tmp_path / "artifact") == folder_digest(tmp_path / "artifact")
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_one_flipped_bit_is_found_and_the_file_named(tmp_path):
    write(tmp_path / "artifact")
    file = tmp_path / "artifact" / "inner" / "data.bin"
    file.write_bytes(b"veights")
    with pytest.raises(DamagedArtifact, match=r"inner/data\.bin"):
        verify_folder(tmp_path / "artifact")


def test_missing_file_and_missing_folder_are_named(tmp_path):
    write(tmp_path / "artifact")
    (tmp_path / "artifact" / "inner" / "data.bin").unlink()
    with pytest.raises(DamagedArtifact, match="missing"):
        verify_folder(tmp_path / "artifact")
    with pytest.raises(PalimpsestError, match="no such folder"):
        verify_folder(tmp_path / "nowhere")


def test_truncated_digests_are_a_clear_error(tmp_path):
    write(tmp_path / "artifact")
    (tmp_path / "artifact" / DIGESTS).write_text('{"inner/da')
    with pytest.raises(DamagedArtifact, match="not JSON"):
        verify_folder(tmp_path / "artifact")


def test_failed_write_leaves_the_old_artifact_and_no_litter(tmp_path):
    write(tmp_path / "artifact", b"old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "artifact") as temporary:
        (temporary / "data.bin").write_bytes(b"half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "artifact" / "inner" / "data.bin").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_killed_write_leaves_nothing_under_the_final_name(tmp_path):
    program = (
        "import sys, time; from palimpsest.provenance import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'data.bin').write_bytes(b'half'); print('writing', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "artifact")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "artifact").exists()
    write(tmp_path / "artifact")
    verify_folder(tmp_path / "artifact")


def _write_often(folder, until):
    while time.monotonic() < until:
        write(folder)


def test_two_writers_of_one_folder_both_succeed(tmp_path):
    until = time.monotonic() + 1
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(tmp_path / "artifact", until)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    verify_folder(tmp_path / "artifact")


def test_digest_of_settings_does_not_depend_on_the_order_of_keys():
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1}) != digest_json({"a": 1, "b": [3]})
