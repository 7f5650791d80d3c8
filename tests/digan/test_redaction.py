"""Credentials in text are hidden, whatever signs they hold; other text is not changed."""

from __future__ import annotations

import pickle

import pytest

from digan.errors import UserError
from digan.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:planted@host:5000/x", "http://***@host:5000/x"),
        ("http://planted@host", "http://***@host"),
        ("postgresql+psycopg2://user:p@planted/x?y#z@db:5432/mlflow", "postgresql+psycopg2://***@db:5432/mlflow"),
        ("mysql://user:planted'\"<>,;@db/x", "mysql://***@db/x"),
        ("https://host/x?planted", "https://host/x?***"),
        ("https://host/x?sv=1&sig=planted%2B#part", "https://host/x?sv=***&sig=***#part"),
        ("https://host/#access_token=planted", "https://host/#access_token=***"),
        ("retries exceeded with url: /?token=planted (Caused by X)", "retries exceeded with url: /?token=*** (Caused by X)"),
        ("AWS_SECRET_ACCESS_KEY=planted is set", "AWS_SECRET_ACCESS_KEY=*** is set"),
        ("{'uri': 'http://a:planted@h', 'b': 'c@d'}", "{'uri': 'http://***@h', 'b': 'c@d'}"),
        ("Authorization: Bearer planted", "Authorization: Bearer ***"),
        ("headers {'Authorization': 'Basic planted', 'x': 1}", "headers {'Authorization': 'Basic ***', 'x': 1}"),
        ('"http://h/?token=planted", 1', '"http://h/?token=***", 1'),
        ("http://a:planted@one and http://b:planted@two", "http://***@one and http://***@two"),
    ],
)  # fmt: skip
def test_credentials_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected == redacted(redacted(text))
    error = UserError(text)
    assert str(error) == expected == str(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize(
    "text",
    [
        "", "a@b", "models:/digan@champion", "s3://bucket/a@2/b#0.mp4", "sqlite:////home/a b/mlflow.db", "ray://host:10001",
        "http://127.0.0.1:5000/#/experiments/1", "http://host:80/a@b", "c3d=s3://b/net.pt#0123abcd", "training.seed=0: try 1",
        "sqlite:///x.db: not there; mail a@b", "sqlite+pysqlite:///file:/a%3Fb/mlflow.db?uri=true",
        "set RAY_AUTH_TOKEN_PATH=/etc/ray/token", "the cluster asks for authorization; pass a token",
    ],
)  # fmt: skip
def test_other_text_is_not_changed(text: str) -> None:
    assert redacted(text) == text
