from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from fer.report.statistics import holm, mcnemar, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 35), (27, 35), (476, 476), (271, 476), (2600, 3589)])
def test_wilson_is_that_of_statsmodels(right, count):
    assert wilson(right / count, count) == pytest.approx(proportion_confint(right, count, 0.05, "wilson"), abs=1e-12)


def test_wilson_of_nothing_is_everything():
    assert wilson(0.0, 0) == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random(200) < 0.6, rng.random(200) < 0.5 + 0.05 * seed
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    only_first, only_second, p = mcnemar(first, second)
    assert [only_first, only_second] == [table[0][1], table[1][0]]
    assert p == pytest.approx(oracle_mcnemar(table, exact=True).pvalue, abs=1e-12)


def test_mcnemar_of_equal_answers_finds_nothing():
    right = np.array([True, False, True])
    assert mcnemar(right, right) == (0, 0, 1.0)


def test_holm_is_that_of_statsmodels():
    p_values = np.random.default_rng(0).random(30) ** 3
    np.testing.assert_allclose(holm(p_values.tolist()), multipletests(p_values, method="holm")[1])
