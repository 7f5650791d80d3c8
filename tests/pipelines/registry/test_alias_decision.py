"""The rule that decides a version's alias."""

from __future__ import annotations

import pytest

from pipelines.registry.alias_decision import CHALLENGER, CHAMPION, AliasRule, MetricValue, decide_alias

RULE = AliasRule(margin=1.0, max_ratio=10.0)


def measured(
    value: float,
    *,
    spread: float = 0.1,
    metric: str = "frechet_x",
    data: str = "d1",
    detector: str = "t1",
    protocol: str = "p1",
    real_vs_real: float = 1.0,
) -> MetricValue:
    return MetricValue(
        metric=metric,
        value=value,
        spread=spread,
        data=data,
        detector=detector,
        protocol=protocol,
        real_vs_real=real_vs_real,
    )


@pytest.mark.parametrize(
    ("candidate", "champion", "alias", "part"),
    [
        (measured(5.0), None, CHAMPION, "first champion, frechet_x 5, real vs. real 1"),
        (measured(10.0), None, CHAMPION, "first champion"),
        (measured(10.001), None, CHALLENGER, "no champion yet"),
        (
            measured(16.2, real_vs_real=1.2),
            None,
            CHALLENGER,
            "no champion yet: frechet_x 16.2 is more than 10 times real vs. real, 1.2 (registry.max_ratio=10);"
            " to promote this version anyway, set the alias champion of m in the MLflow UI",
        ),
        (measured(5.0, real_vs_real=0.0), None, CHALLENGER, "no champion yet"),
        (measured(5.0, real_vs_real=float("nan")), None, CHALLENGER, "which is unknown (registry.max_ratio=10)"),
        (measured(40.0), measured(50.0), CHAMPION, "better than the champion"),  # of a champion that was set by hand
        (measured(4.0), measured(5.0), CHAMPION, "4, version 3 has 5"),
        (measured(4.9), measured(5.0), CHALLENGER, "not significantly better"),
        (measured(4.8, spread=0.2), measured(5.0, spread=0.1), CHALLENGER, "not more than 1 times its spread of 0.22"),
        (measured(4.7, spread=0.2), measured(5.0, spread=0.1), CHAMPION, "more than 1 times its spread of 0.22"),
        (measured(4.9, spread=float("nan")), measured(5.0, spread=float("nan")), CHAMPION, "better"),
        (measured(5.0), measured(5.0), CHALLENGER, "not better"),
        (measured(6.0), measured(5.0), CHALLENGER, "not better"),
        (measured(1.0, data="d2"), measured(5.0), CHALLENGER, "not comparable"),
        (measured(1.0, detector="t2"), measured(5.0), CHALLENGER, "detector t2 instead of t1"),
        (measured(1.0, protocol="p2"), measured(5.0), CHALLENGER, "protocol p2 instead of p1"),
        (
            measured(1.0, protocol="q: 8 videos, 3 draws, snapshot chosen on other seeds, seed 0"),
            measured(5.0, protocol="q: 8 videos, 3 draws, seed 0"),
            CHALLENGER,
            'not comparable with the champion (version 3): protocol with "snapshot chosen on other seeds"; to promote',
        ),
        (measured(1.0, protocol="q, a"), measured(5.0, protocol="q, a, b"), CHALLENGER, 'protocol without "b"'),
        (measured(1.0, protocol="q, a, c"), measured(5.0, protocol="q, b, c"), CHALLENGER, "protocol a instead of b;"),
        (
            measured(1.0, protocol="q, a, c"),
            measured(5.0, protocol="q, c, a"),
            CHALLENGER,
            "q, a, c instead of q, c, a",
        ),
        (measured(1.0, metric="fvd"), measured(5.0), CHALLENGER, "set the alias champion"),
        (measured(float("nan")), None, CHALLENGER, "nan"),
        (measured(float("nan")), measured(5.0), CHALLENGER, "nan"),
    ],
)
def test_rule_decides_alias(candidate: MetricValue, champion: MetricValue | None, alias: str, part: str) -> None:
    decision = decide_alias(candidate, champion, champion_version="3" if champion else None, name="m", rule=RULE)
    assert decision.alias == alias and part in decision.reason


@pytest.mark.parametrize("real_vs_real", [1.0, float("nan")])
def test_any_first_version_becomes_champion_without_a_ratio(real_vs_real: float) -> None:
    rule = AliasRule(margin=1.0, max_ratio=0)
    candidate = measured(1e6, real_vs_real=real_vs_real)
    assert decide_alias(candidate, None, champion_version=None, name="m", rule=rule).alias == CHAMPION


def test_champion_without_value_is_not_replaced() -> None:
    assert decide_alias(measured(1.0), None, champion_version="3", name="m", rule=RULE).alias == CHALLENGER


def test_value_is_restored_from_tags() -> None:
    one = measured(0.1 + 0.2)
    assert MetricValue.of_tags({**one.tags(), "other": "x"}) == one
    assert MetricValue.of_tags({}) is None and MetricValue.of_tags({**one.tags(), "value": "x"}) is None
