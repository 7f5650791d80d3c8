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
        ("http://a:planted@one and x@y", "http://***@one and x@y"),
        ("http://user:12/planted@host", "http://***@host"),
        ("http://user.name:12/planted@host", "http://***@host"),
        ("postgresql://user:5432/planted@host/db", "postgresql://***@host/db"),  # SQLAlchemy reads it so, too
        ("mongodb://user:1/2/planted@a,b/x", "mongodb://***@a,b/x"),
        ("http://user:5000x/planted@host", "http://***@host"),
        ("http://user:0/planted@[::1]:5000/x", "http://***@[::1]:5000/x"),
        ("http://user:12#planted@host", "http://***@host"),
        ("http://user:12?planted@host:1/x", "http://***@host:1/x"),
        ("http://user:12 planted@host/x", "http://***@host/x"),
        ("http://us%65r:planted#@host/#/x", "http://***@host/#/x"),
        ("http://user:planted pass word@host:1/x", "http://***@host:1/x"),
        ("http://user:planted p@s w@host/x is down", "http://***@host/x is down"),
        ("http://user:p@s planted@host:5000/x", "http://***@host:5000/x"),
        ("tracking.uri=http://user:planted pa@host: not there (x@y)", "tracking.uri=http://***@host: not there (x@y)"),
        ("http://user:x://planted@host", "http://***@host"),
        ("http://user:%70lanted planted%40@host", "http://***@host"),
        ("?uri is postgresql%3A%2F%2Fuser%3Aplanted%40host%2Fdb", "?uri is postgresql%3A%2F%2F***@host%2Fdb"),
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
        "http://127.0.0.1:41237/a@b", "http://localhost:1/a@b", "http://[::1]:5000/a@b", "http://mlflow:5000/#/models/digan@champion",
        "https://mlflow.example.com:8443/x@y", "ray://node7:10002 is lost; ask a@b", "http://mlflow:5000: not there, ask a@b",
        "https://example.com/a:b@c", "see https://example.com: it says a@b", "s3://bucket/x:1/a@b", "http://h:5001/x; ask me@box",
        "{'uri': 'http://h:5001', 'b': 'c@d/e'}", "ray://head:10001 does not answer and a@b/c does",
        "sqlite:///x.db: not there; mail a@b", "sqlite+pysqlite:///file:/a%3Fb/mlflow.db?uri=true",
        "set RAY_AUTH_TOKEN_PATH=/etc/ray/token", "the cluster asks for authorization; pass a token",
    ],
)  # fmt: skip
def test_other_text_is_not_changed(text: str) -> None:
    assert redacted(text) == text
