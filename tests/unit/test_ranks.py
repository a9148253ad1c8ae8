"""Ranks, beside scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from weightscape.claims.judge import adjust
from weightscape.measures.ranks import average_ranks

values = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))


@given(st.lists(values, min_size=1, max_size=30))
def test_ranks_are_scipys(found):
    np.testing.assert_array_equal(average_ranks(np.array(found)), stats.rankdata(found))


def test_a_nan_leaves_no_ranks():
    assert np.isnan(average_ranks(np.array([2.0, np.nan, 1.0]))).all()


def test_correlations_of_ranks_are_scipys_to_the_last_bit():
    random = np.random.default_rng(0)
    for n in (3, 10, 200):
        x, y = random.normal(size=(2, n)).round(1)
        own = np.corrcoef(average_ranks(x), average_ranks(y))[0, 1]
        assert own == stats.spearmanr(x, y).statistic


@pytest.mark.parametrize("p", [[], [0.03], [0.01, 0.04, 0.04, 0.5, 1.0, 0.0]])
def test_adjusted_p_is_scipys(p):
    expected = stats.false_discovery_control(p) if p else []
    np.testing.assert_array_equal(adjust(np.array(p)), expected)
    with_gap = adjust(np.array([*p, np.nan]))
    np.testing.assert_array_equal(with_gap, [*expected, np.nan])
