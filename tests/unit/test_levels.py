"""The grammar of levels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest.levels import (
    Bits,
    Format,
    Full,
    Joint,
    KeptShare,
    LevelError,
    NofM,
    RankShare,
    Sparsity,
    from_path,
    parse,
    rank_for,
)
from palimpsest.provenance import PalimpsestError

LEVELS = {
    "0.5": Sparsity(0.5),
    "0.0": Sparsity(0.0),
    "2:4": NofM(2, 4),
    "4": Bits(4),
    "4g128": Bits(4, 128),
    "nf4": Format("nf4"),
    "int8": Format("int8"),
    "w8a8": Format("w8a8"),
    "k0.8": KeptShare(0.8),
    "k1.0": KeptShare(1.0),
    "r0.1": RankShare(0.1),
    "0.5+4g128": Joint(Sparsity(0.5), Bits(4, 128)),
    "2:4+3": Joint(NofM(2, 4), Bits(3)),
    "full": Full(),
}


@pytest.mark.parametrize("text", LEVELS)
def test_every_kind_of_level_is_read_and_written_back(text):
    level = parse(text)
    assert level == LEVELS[text]
    assert level.text == str(level) == text
    assert from_path(level.path) == level
    assert ":" not in level.path and "/" not in level.path


@pytest.mark.parametrize(
    ("written", "canonical"),
    [(".50", "0.5"), ("0.50", "0.5"), (0.5, "0.5"), ("0", "0.0"), (1e-05, "0.00001"), (4, "4"), (" 4 ", "4"),
     ("k.80", "k0.8"), ("k1", "k1.0"), (".50+4", "0.5+4")],
)  # fmt: skip
def test_one_level_has_one_text(written, canonical):
    assert parse(written).text == canonical


@given(st.integers(min_value=0, max_value=9999))
@settings(max_examples=200, deadline=None)
def test_a_sparsity_survives_its_text(n):
    level = parse(n / 10000)
    assert level.syntax in ("sparsity", "bits")
    assert parse(level.text) == level


@pytest.mark.parametrize(("keep", "group"), [(1, 2), (2, 4), (4, 8), (8, 16), (3, 32)])
def test_an_unquoted_n_of_m_that_yaml_made_a_number_is_recognized(keep, group):
    import yaml

    value = yaml.safe_load(f"level: {keep}:{group}")["level"]
    assert value == 60 * keep + group  # the trap is real
    with pytest.raises(LevelError, match=f'quote it: "{keep}:{group}"') as error:
        parse(value)
    assert error.value.meant == f"{keep}:{group}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.2", r"sparsity 1.2 is not in \[0, 1\)"),
        (1.0, r"sparsity 1.0 is not in \[0, 1\)"),
        ("-0.1", "sparsity"),
        ("4:2", "less than M"),
        ("0:4", "at least 1"),
        ("4:4", "less than M"),
        (1, "bits 1 is not in 2 to 8"),
        ("9", "bits 9 is not in 2 to 8"),
        (50, "A sparsity of 50 % is written 0.5"),
        ("16g128", "bits"),
        ("4g1", "at least 2 weights"),
        ("k1.2", "kept share"),
        ("k0", "kept share"),
        ("0.5+0.5", "joint"),
        ("4+0.5", "joint"),
        ("0.5+4+4", "joint"),
        ("2:4+4g30", "groups of 30 weights cut the 4 of 2:4 apart"),
        ("nf5", "not a level"),
        ("", "not a level"),
        ("٤", "not a level"),
        ("../x", "not a level"),
        (True, "not a level"),
        (None, "not a level"),
        (float("nan"), "not a level"),
        (["0.5"], "not a level"),
    ],
)
def test_what_is_no_level_is_refused_with_the_reason(value, message):
    with pytest.raises(PalimpsestError, match=message):
        parse(value)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("4:2", "2:4"),
        ("2-4", "2:4"),
        ("NF4", "nf4"),
        ("50%", "0.5"),
        (30, "0.3"),
        ("k80", "k0.8"),
        ("int4", "4"),
        (90, "0.9"),
    ],
)
def test_what_was_probably_meant_is_offered(value, meant):
    with pytest.raises(LevelError) as error:
        parse(value)
    assert error.value.meant == meant
    assert parse(meant).text == meant


def test_a_rank_keeps_at_most_its_share_of_the_parameters_and_one_more_would_not():
    for rows, columns in [(128, 128), (384, 128), (100, 30), (9, 7)]:
        for share in (0.3, 0.6, 0.7, 0.8, 0.9):
            rank = rank_for(rows, columns, KeptShare(share))
            assert rank * (rows + columns) <= share * rows * columns + 1e-9
            assert (rank + 1) * (rows + columns) > share * rows * columns - 1e-9


def test_a_rank_is_exact_where_floating_point_is_not():
    assert int(0.7 * 90 * 120 / 210) == 35
    assert rank_for(90, 120, KeptShare(0.7)) == 36
    assert int(0.29 * 100) == 28
    assert rank_for(100, 120, RankShare(0.29)) == 29


def test_a_rank_is_at_least_one_and_a_share_of_one_leaves_the_matrix_dense():
    assert rank_for(7, 5, KeptShare(0.1)) == rank_for(7, 5, RankShare(0.1)) == 1
    assert rank_for(7, 5, KeptShare(1.0)) is rank_for(7, 5, RankShare(1.0)) is None
