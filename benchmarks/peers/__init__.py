"""llmcompressor, in an environment of its own (benchmarks/peers/.venv), on the same checkpoint, rows and level.

From opening the checkpoint to the compressed model on disk, each in a process of its own, imports apart; peak memory of
the whole process. Perplexity is by one code for both, on the dense weights that each stands for.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import models
import torch
from timing import in_a_process, table

FOLDER = Path(__file__).parent
PYTHON = FOLDER / ".venv" / "bin" / "python"
CELLS = {"gptq": "4", "sparsegpt": "0.5", "wanda": "0.5"}
REPEATS = 3
OURS = """
import json, sys, time, torch
torch.set_num_threads(1)
from palimpsest.compression import blocks, cell
import palimpsest.calibration
model, calibration, method, level, output = sys.argv[1:]
started = time.perf_counter()
cell.compress(model, output, method=method, level=level, calibration_folder=calibration)
print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time()}))
"""
THEIRS = "import runpy, sys; sys.argv = [sys.argv[1], *sys.argv[2:]]; runpy.run_path(sys.argv[0], run_name='__main__')"


def rows() -> list[str]:
    if not PYTHON.exists():
        _install()
    header = "checkpoint, method | llmcompressor s | ours s | ratio | its peak MB | ours | its perplexity | ours"
    data = os.environ.get("PALIMPSEST_DATA")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if data:
            from palimpsest.calibration import draw

            stories, text = Path(data) / "models" / "stories260K", Path(data) / "data" / "tinystories"
            draw(text / "train.txt", stories, folder / "drawn", samples=256, length=64)
            calibration = _unpadded(folder / "drawn", folder / "rows")
            return table(header, _compare("stories260K", stories, folder, calibration, text / "tinystories.txt"))
        model = _with_tokenizer(models.random_llama(folder / "random", hidden=1024, intermediate=2816, layers=4))
        calibration = models.calibration(folder / "rows", samples=64, length=256)
        lines = table(header, _compare("random Llama, 4 blocks of width 1024", model, folder, calibration, None))
    return [*lines, "", "PALIMPSEST_DATA is not set: no real checkpoint, and so no perplexity."]


def _with_tokenizer(model: Path) -> Path:
    """llmcompressor wants one, though the rows are tokens already."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<unk>").save_pretrained(model)
    return model


def _install() -> None:
    subprocess.run([sys.executable, "-m", "venv", FOLDER / ".venv"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "torch==2.13.0"], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "-r", FOLDER / "requirements.txt"], check=True)


def _unpadded(drawn: Path, output: Path) -> Path:
    """The rows that are whole, so that no padding is counted by anyone."""
    from palimpsest.calibration import read_rows

    tokens, lengths, _ = read_rows(drawn)
    least = int(lengths.median())
    return models.write_calibration(output, tokens[lengths >= least][:, :least].contiguous())


def _compare(name: str, model: Path, folder: Path, calibration: Path, text: Path | None) -> list[list[object]]:
    found = []
    for method, level in CELLS.items():
        said: dict[str, list[dict]] = {"theirs": [], "ours": []}
        for turn in range(REPEATS):
            outputs = {side: folder / f"{model.name}-{method}-{side}-{turn}" for side in said}
            script = FOLDER / "oneshot.py"
            tokens = calibration / "tokens.safetensors"
            said["theirs"].append(
                in_a_process(THEIRS, script, model, tokens, method, outputs["theirs"], python=str(PYTHON))
            )
            said["ours"].append(in_a_process(OURS, model, calibration, method, level, outputs["ours"]))
        seconds = {side: statistics.median(one["seconds"] for one in all_) for side, all_ in said.items()}
        peaks = {side: max(one["peak"] for one in all_) / 1e6 for side, all_ in said.items()}
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(said["theirs"], said["ours"], strict=True)]
        row = [
            f"{name}, `{method}` {level}", f"{seconds['theirs']:.1f}", f"{seconds['ours']:.1f}",
            f"{statistics.median(ratios):.1f}", f"{peaks['theirs']:,.0f}", f"{peaks['ours']:,.0f}",
        ]  # fmt: skip
        if text is not None:
            row += [f"{perplexity(outputs[side], text):.2f}" for side in ("theirs", "ours")]
        found.append(row if text is not None else [*row, "–", "–"])
        for output in folder.glob(f"{model.name}-{method}-*"):
            shutil.rmtree(output)
    return found


@torch.inference_mode()
def perplexity(folder: Path, text: Path) -> float:
    """exp of the mean next-token loss over windows of 256 tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import palimpsest

    if (folder / "compression.json").exists():
        model, tokenizer = palimpsest.load(folder)
    else:
        config = json.loads((folder / "config.json").read_text())
        config.pop("quantization_config", None)
        (folder / "config.json").write_text(json.dumps(config))
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = torch.tensor(tokenizer(text.read_text(encoding="utf-8"), verbose=False)["input_ids"])
    windows = ids[: len(ids) // 256 * 256].view(-1, 256)
    losses = [model(input_ids=part, labels=part).loss.item() for part in windows.split(8)]
    return math.exp(statistics.mean(losses))
