"""A method is declared once, beside its function, and read without torch."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import palimpsest
from palimpsest.compression import registry
from palimpsest.levels import parse
from palimpsest.provenance import PalimpsestError


def test_reading_the_declarations_imports_no_torch():
    code = """
import sys, palimpsest
from palimpsest.compression import registry
assert "gptq" in registry.declared() and "gptq" in palimpsest.methods()
loaded = {"torch", "transformers", "pandas", "numpy"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_interface_is_five_names():
    assert palimpsest.__all__ == ["compress_weight", "evaluate", "lm", "load", "methods"]
    assert set(palimpsest.__all__) <= set(dir(palimpsest))
    with pytest.raises(AttributeError, match="no attribute 'compress'"):
        _ = palimpsest.compress


def test_declarations_say_what_the_functions_take():
    for name, declaration in registry.declared().items():
        parameters = inspect.signature(registry.function(name)).parameters
        assert list(parameters)[:3] == ["weight", "stats", "level"]
        keyword = {key: value.default for key, value in parameters.items() if value.kind == value.KEYWORD_ONLY}
        keyword.pop("seed", None)
        assert declaration.options == keyword
        assert declaration.summary and declaration.summary == registry.function(name).__doc__.split("\n")[0]


def test_methods_say_family_levels_and_needs():
    gptq = palimpsest.methods()["gptq"]
    assert gptq["family"] == "quantization" and gptq["needs"] == ("gram",) and gptq["options"]["act_order"] is False
    for entry in palimpsest.methods().values():
        for syntax, examples in entry["levels"].items():
            assert {parse(example).syntax for example in examples} == {syntax}


def test_methods_that_see_calibration_depend_on_the_seed():
    deterministic = {name for name, declaration in registry.declared().items() if declaration.deterministic}
    assert deterministic == {"magnitude", "rtn", "hqq", "nf4", "svd", "laser"}


def test_compressed_inputs_are_the_default_of_the_methods_that_were_published_so():
    assert {name for name, declaration in registry.declared().items() if declaration.propagate} == {
        "wanda",
        "sparsegpt",
        "dsnot",
        "alps",
        "structured",
        "gptq",
    }


def test_one_function_is_a_new_method(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from palimpsest.compression.registry import method\n\n\n"
        '@method("mine", family="pruning", needs=("input_norms",))\n'
        "def mine(weight, stats, level, *, strength: float = 0.5, seed: int = 0):\n"
        '    """Drop weights my way."""\n'
    )
    monkeypatch.setattr(registry, "METHODS", tmp_path)
    mine = registry.declared.__wrapped__()["mine"]
    assert mine.options == {"strength": 0.5} and mine.seeded and mine.levels == ("sparsity", "n:m")
    assert mine.summary == "Drop weights my way."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('@method("mine", family=FAMILY)', "mine.py:2: .*must be literals"),
        ('@method("mine", family="sparsity")', "'sparsity' is none of pruning"),
        ('@method("mine", family="pruning", needs=("hessian",))', "'hessian' is none of input_norms"),
    ],
)
def test_a_declaration_that_cannot_be_read_is_an_error_with_its_line(tmp_path, monkeypatch, line, message):
    (tmp_path / "mine.py").write_text(f"\n{line}\ndef mine(weight, stats, level):\n    pass\n")
    monkeypatch.setattr(registry, "METHODS", tmp_path)
    with pytest.raises(PalimpsestError, match=message):
        registry.declared.__wrapped__()


def test_options_are_checked_and_completed():
    assert registry.complete_options("gptq", {"damping": 1})["damping"] == 1
    assert registry.complete_options("rtn", {}) == {"symmetric": False, "mse_clipping": False, "scale_bits": 0}
    for method, options, message in [
        ("gptq", {"dampening": 0.1}, "no option 'dampening'.*damping=0.01"),
        ("gptq", {"act_order": 1}, "act_order is 1; write a bool"),
        ("gptq", {"damping": True}, "damping is True; write a float"),
        ("rtn", {"scale_bits": 16.0}, "write a int"),
        ("magnitude", {"x": 1}, "Its options and their defaults: none"),
    ]:
        with pytest.raises(PalimpsestError, match=message):
            registry.complete_options(method, options)
