"""The structural probe finds a tree that is in the states, and none where there is none."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

from palimpsest.probing import trees
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Probe


def random_heads(length, rng):
    """A random tree: a root, and every other word, in random order, under one that has its place."""
    order = rng.permutation(length) + 1
    heads = [0] * length
    for place, word in enumerate(order[1:], 1):
        heads[word - 1] = int(order[rng.integers(place)])
    return heads


def embedded(heads, width):
    """Points whose squared distances are those in the tree: a direction for each edge, and a word their sum."""
    points = np.zeros((len(heads), width))
    for word in range(len(heads)):
        above = word
        while heads[above]:
            points[word, above] = 1
            above = heads[above] - 1
    return points


def sentences(count, width=12, shortest=3, seed=0):
    rng = np.random.default_rng(seed)
    rows, points = [], []
    for number in range(count):
        heads = random_heads(int(rng.integers(shortest, width + 1)), rng)
        split = ("train", "train", "train", "validation", "test")[number % 5]
        rows.append({"id": f"s{number}", "words": ["w"] * len(heads), "heads": heads, "split": split})
        points.append(embedded(heads, width))
    return rows, np.concatenate(points)


def by_metric(found):
    return {(each.scoring, each.layer, each.metric): each for each in found}


def test_a_tree_that_the_states_hold_is_found_whole():
    """Exact distances, turned, stretched and among dimensions that say nothing."""
    rows, points = sentences(300)
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    states = np.concatenate([points, 0.5 * rng.normal(size=(len(points), 8))], 1) @ turn * 30 + 7
    found = by_metric(trees.outcomes({"words": states[None]}, rows, Probe()))
    assert found["structural", 0, "uuas"].values.mean() == 1
    assert found["structural", 0, "spearman"].values.mean() > 0.95
    assert found["chain", 0, "uuas"].values.mean() < 0.6


def test_exact_distances_need_no_fit():
    rows, points = sentences(40, shortest=5)
    ends = np.cumsum([len(row["words"]) for row in rows])
    predicted = [trees.squared_distances(each) for each in np.split(points, ends[:-1])]
    gold = [trees.distances(row["heads"]) for row in rows]
    for one, two in zip(predicted, gold, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-9)
    uuas, spearman = trees.scored(predicted, gold, rows, "structural", 0)
    assert uuas.values.mean() == spearman.values.mean() == 1
    assert len(uuas.rows) == sum(len(row["words"]) - 1 for row in rows) == len(set(uuas.rows))
    assert set(uuas.clusters) == {row["id"] for row in rows}


def test_noise_has_no_tree():
    rows, points = sentences(200)
    found = by_metric(
        trees.outcomes({"words": np.random.default_rng(2).normal(size=(1, *points.shape))}, rows, Probe())
    )
    # A random spanning tree has 2/n of another's edges.
    expected = np.mean([2 / len(row["words"]) for row in rows if row["split"] == "test" for _ in row["words"][1:]])
    assert abs(found["structural", 0, "uuas"].values.mean() - expected) < 0.1
    assert abs(found["structural", 0, "spearman"].values.mean() - found["chain", 0, "spearman"].values.mean()) < 0.35


def test_the_same_states_give_the_same_map():
    rows, points = sentences(60)
    one, two = (by_metric(trees.outcomes({"words": points[None]}, rows, Probe(rank=4))) for _ in range(2))
    assert one.keys() == two.keys()
    for key in one:
        np.testing.assert_array_equal(one[key].values, two[key].values)


def test_the_rank_is_that_of_the_map():
    rows, points = sentences(30)
    states = np.split(points, np.cumsum([len(row["words"]) for row in rows])[:-1])
    gold = [trees.distances(row["heads"]) for row in rows]
    assert trees.fit(states, gold, rank=3).shape == (12, 3)
    assert trees.fit(states, gold, rank=64).shape == (12, 12)


def test_distances_are_the_edges_between_two_words():
    heads = [2, 0, 2, 5, 3]  # 1 ← 2 → 3 → 5 → 4
    expected = [[0, 1, 2, 4, 3], [1, 0, 1, 3, 2], [2, 1, 0, 2, 1], [4, 3, 2, 0, 1], [3, 2, 1, 1, 0]]
    np.testing.assert_array_equal(trees.distances(heads), expected)


def test_the_spanning_tree_is_the_lightest():
    """Prim's algorithm, as the paper's code has it, on random distances with a zero among them."""
    rng = np.random.default_rng(3)
    for _ in range(10):
        distance = np.abs(rng.normal(size=(9, 9)))
        distance = distance + distance.T
        distance[2, 5] = distance[5, 2] = 0
        kept = np.ones(9, dtype=bool)
        kept[4] = False
        inside, edges = {0}, set()
        while len(inside) < 8:
            _, one, two = min((distance[i, j], i, j) for i in inside for j in set(np.flatnonzero(kept)) - inside)
            inside.add(two)
            edges.add(frozenset((one, int(two))))
        assert trees.spanning_edges(distance, kept) == edges


def test_correlations_of_rows_are_those_of_scipy():
    rng = np.random.default_rng(4)
    one, two = rng.normal(size=(6, 7)), rng.integers(0, 3, size=(6, 7))
    expected = [spearmanr(a, b).statistic for a, b in zip(one, two, strict=True)]
    np.testing.assert_allclose(trees.row_correlations(one, two), expected)
    assert trees.row_correlations(np.zeros((1, 4)), np.arange(4)[None]) == [0]


def test_spearman_weighs_all_lengths_alike():
    """Three sentences of five words in order and one of six that is upside down: 0, not one half."""
    rows, gold = [], []
    for number, length in enumerate((5, 5, 5, 6, 4)):
        rows.append({"id": str(number), "words": ["w"] * length, "heads": list(range(length))})
        gold.append(trees.distances(rows[-1]["heads"]))
    predicted = [-each if len(each) == 6 else each for each in gold]
    _, spearman = trees.scored(predicted, gold, rows, "structural", 0)
    assert spearman.rows.tolist() == ["5 words", "6 words"]
    assert spearman.values.mean() == 0


def test_punctuation_is_left_out_of_the_tree():
    row = {"id": "a", "words": ["dogs", ",", "cats", "$", "!?"], "heads": [0, 3, 1, 1, 1]}
    assert trees.punctuation(row).tolist() == [False, True, False, False, True]
    assert trees.punctuation(row | {"punctuation": [False] * 5}).sum() == 0
    assert trees.tree_edges(row) == [(2, 0), (3, 0)]


HEADS = {
    "no root": ([2, 1], "0 roots"),
    "two roots": ([0, 0, 1], r"2 roots \(words 1, 2\); a tree has one word whose head is 0"),
    "a cycle": ([0, 3, 2], "word 2 is, by its heads, above itself: a cycle"),
    "itself": ([0, 2], "word 2 is, by its heads, above itself"),
    "beyond the end": ([0, 4], r"the head of word 2 is 4; it must be 0 \(the root\) to 2"),
    "none": ([None, 0], "the head of word 1 is None"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_no_tree_are_refused(name, tiny_model_folder, tiny_tokenizer):
    heads, message = HEADS[name]
    row = {"id": "s7", "words": ["dog"] * len(heads), "heads": heads, "split": "train"}
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    with pytest.raises(PalimpsestError, match=f"s7: {message}"):
        trees.extract(model, tiny_tokenizer, [row], Probe())


def test_a_chain_is_a_tree():
    for length in (1, 2, 60):
        assert trees.problem_of_heads(list(range(length))) is None


def test_three_sentences_are_too_few():
    rows, points = sentences(3)
    with pytest.raises(PalimpsestError, match="3 sentences to train on and 0 to test on; it needs 10 and 1"):
        list(trees.outcomes({"words": points[None]}, rows, Probe()))


def test_batches_hold_every_sentence_once():
    rows, points = sentences(90)
    states = np.split(points.astype(np.float32), np.cumsum([len(row["words"]) for row in rows])[:-1])
    batches = trees._batches(states, [trees.distances(row["heads"]) for row in rows])
    assert len(batches) > 1
    assert sum(len(points) for points, _, _ in batches) == 90
    assert sum(float(weights.sum()) for _, _, weights in batches) == pytest.approx(90)
    lengths = [points.shape[1] for points, _, _ in batches]
    assert all(one <= two for one, two in pairwise(lengths))
