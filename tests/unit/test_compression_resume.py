"""A walk that was killed goes on at the block it was in, and a sweep's cells are those of single walks."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from palimpsest.compression.cell import compress
from palimpsest.compression.layer import compress_layer
from palimpsest.compression.progress import Progress, progress
from palimpsest.provenance import PalimpsestError, folder_digest

BLOCKS = 5
CASES = [
    ("gptq", "4", True),
    ("gptq", "4", False),
    ("wanda", "2:4", True),
    ("svd-llm", "k0.6", False),
    ("rtn", "3", False),
]
# The same call in a process of its own, which kills itself in the middle of writing block `at`.
KILLED = """
import os, signal, sys
from palimpsest.compression import cell, tensorfile
model, output, state, calibration, method, level, propagate, at = sys.argv[1:]
close, blocks = tensorfile.TensorFile.close, []
def killed(self):
    blocks.append(self)
    if len(blocks) > int(at):
        os.kill(os.getpid(), signal.SIGKILL)
    close(self)
tensorfile.TensorFile.close = killed
cell.compress(model, output, method=method, level=level, state_folder=state, propagate=propagate == "True",
              calibration_folder=calibration or None)
"""


@pytest.fixture(scope="module")
def deep(tmp_path_factory, make_tiny_model):
    return make_tiny_model(tmp_path_factory.mktemp("deep") / "model", num_hidden_layers=BLOCKS)


@pytest.fixture
def compressed(monkeypatch):
    """Names of the layers that were compressed."""
    names = []

    def counting(name, *arguments):
        names.append(name)
        return compress_layer(name, *arguments)

    monkeypatch.setattr("palimpsest.compression.walk.compress_layer", counting)
    return names


@pytest.mark.parametrize("at", [0, 1, BLOCKS - 1, BLOCKS])
@pytest.mark.parametrize(("method", "level", "propagate"), CASES[:1])
def test_a_killed_walk_redoes_one_block_at_most_and_ends_with_the_same_bytes(
    tmp_path, deep, tiny_calibration_folder, compressed, method, level, propagate, at
):
    cell, state = tmp_path / "cell", tmp_path / "state"
    arguments = [deep, cell, state, tiny_calibration_folder, method, level, propagate, at]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL and not cell.exists()
    options = {"method": method, "level": level, "propagate": propagate, "calibration_folder": tiny_calibration_folder}
    compress(deep, cell, state_folder=state, **options)
    assert {name.split(".")[2] for name in compressed} == {str(number) for number in range(at, BLOCKS)}
    assert not list(state.iterdir()), "a finished walk leaves no state"
    compress(deep, tmp_path / "undisturbed", **options)
    assert folder_digest(cell) == folder_digest(tmp_path / "undisturbed")


@pytest.mark.parametrize(("method", "level", "propagate"), CASES)
def test_every_kind_of_walk_resumes_with_the_same_bytes(
    tmp_path, deep, tiny_calibration_folder, monkeypatch, method, level, propagate
):
    calibration = None if method == "rtn" else tiny_calibration_folder
    options = {"method": method, "level": level, "propagate": propagate, "calibration_folder": calibration}
    compress(deep, tmp_path / "undisturbed", **options)
    save = Progress.save

    def stopped(self, number, *arguments):
        if number == 3:
            raise KeyboardInterrupt
        save(self, number, *arguments)

    monkeypatch.setattr(Progress, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        compress(deep, tmp_path / "cell", state_folder=tmp_path / "state", **options)
    assert not (tmp_path / "cell").exists()
    monkeypatch.setattr(Progress, "save", save)
    compress(deep, tmp_path / "cell", state_folder=tmp_path / "state", **options)
    assert folder_digest(tmp_path / "cell") == folder_digest(tmp_path / "undisturbed")


def test_the_state_of_another_run_is_refused_and_says_in_what_it_differs(tmp_path):
    Progress(tmp_path, {"method": "gptq", "level": "4", "seed": 0})
    Progress(tmp_path, {"method": "gptq", "level": "4", "seed": 0})
    with pytest.raises(PalimpsestError, match="another run, which differs in level, seed"):
        Progress(tmp_path, {"method": "gptq", "level": "3", "seed": 1})


def test_another_level_or_calibration_or_checkpoint_does_not_meet_the_state(tmp_path, deep, tiny_calibration_folder):
    whose = {"level": "4", "base": "a"}
    with pytest.raises(KeyboardInterrupt), progress(tmp_path / "cell", whose, tmp_path / "state") as first:
        first.save(0, {}, {})
        raise KeyboardInterrupt
    with progress(tmp_path / "cell", whose | {"base": "b"}, tmp_path / "state") as other:
        assert other.finished() == 0
    with progress(tmp_path / "cell", whose, tmp_path / "state") as again:
        assert again.finished() == 1


def test_a_state_in_use_is_left_to_who_uses_it(tmp_path):
    with progress(tmp_path / "cell", {"level": "4"}, tmp_path / "state") as first:
        first.save(0, {}, {})
        with progress(tmp_path / "cell", {"level": "4"}, tmp_path / "state") as second:
            assert second.finished() == 0 and second.folder != first.folder
        assert first.finished() == 1


def test_a_damaged_block_is_found(tmp_path, deep, tiny_calibration_folder, monkeypatch):
    options = {"method": "wanda", "level": "0.5", "calibration_folder": tiny_calibration_folder}
    with monkeypatch.context() as patch:
        patch.setattr("palimpsest.compression.artifact.writing", None)
        with pytest.raises(TypeError):
            compress(deep, tmp_path / "cell", state_folder=tmp_path / "state", **options)
    [block] = (tmp_path / "state").glob("*/block-0002.safetensors")
    content = bytearray(block.read_bytes())
    content[-1] ^= 1
    block.write_bytes(content)
    with pytest.raises(PalimpsestError, match=r"block-0002.safetensors: .*damaged. Delete"):
        compress(deep, tmp_path / "cell", state_folder=tmp_path / "state", **options)
    assert not (tmp_path / "cell").exists()


@pytest.mark.parametrize(
    ("method", "levels"),
    [
        ("gptq", ["4", "3g8", "2"]),
        ("sparsegpt", ["0.5", "2:4"]),
        ("wanda", ["0.5", "0.25"]),
        ("svd-llm", ["k0.6", "k0.8", "r0.5"]),
        ("magnitude", ["0.3", "0.6"]),
    ],
)
def test_a_sweep_makes_the_cells_of_single_walks(tmp_path, deep, tiny_calibration_folder, method, levels):
    calibration = None if method == "magnitude" else tiny_calibration_folder
    options = {"method": method, "calibration_folder": calibration, "propagate": False}
    compress(deep, [tmp_path / f"sweep{i}" for i in range(len(levels))], level=levels, **options)
    for i, level in enumerate(levels):
        compress(deep, tmp_path / f"alone{i}", level=level, **options)
        assert folder_digest(tmp_path / f"sweep{i}") == folder_digest(tmp_path / f"alone{i}"), level


def test_a_sweep_whose_levels_would_need_different_inputs_is_refused(tmp_path, deep, tiny_calibration_folder):
    with pytest.raises(PalimpsestError, match="propagate: false"):
        compress(deep, [tmp_path / "a", tmp_path / "b"], method="gptq", level=["4", "3"],
                 calibration_folder=tiny_calibration_folder)  # fmt: skip
    with pytest.raises(PalimpsestError, match="2 levels, 1 output folders"):
        compress(deep, tmp_path / "a", method="rtn", level=["4", "3"])
    assert not (tmp_path / "a").exists()
