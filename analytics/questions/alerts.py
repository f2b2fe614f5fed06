"""The history of alerts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from analytics.questions.asking import begun, check_span
from analytics.store.schema import ALERTS

if TYPE_CHECKING:
    from analytics.store.lake import Lake

MOST_CHANGES: Final = 10_000


class AlertChange(NamedTuple):
    """A change of state of an alert."""

    at: datetime
    rule: str
    fingerprint: str
    """Hash of its labels."""
    site: str | None
    """None where it is not of one site."""
    state: str
    """normal, pending, firing, recovering, no_data or error."""
    numerator: float | None
    """Measured count or value; None where nothing was measured."""
    denominator: float | None
    """Of how many."""
    reason: str
    """Why it changed."""


def alert_history(
    lake: Lake,
    since: datetime,
    until: datetime,
    *,
    rule: str | None = None,
    site: str | None = None,
    fingerprint: str | None = None,
    most: int = 1_000,
) -> tuple[AlertChange, ...]:
    """Return changes of a span, the newest first."""
    check_span(since, until)
    wanted = {"rule": rule, "site": site, "fingerprint": fingerprint}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = "".join(f" AND {name} = ${name}" for name in given)
    with lake.reading() as connection:
        alerts = lake.query(connection, ALERTS.name, since=since, until=until)
        rows = connection.execute(
            f"""
            SELECT epoch_us("at"), rule, fingerprint, site, state, numerator, denominator, reason FROM ({alerts})
            WHERE true{where} ORDER BY 1 DESC, rule, fingerprint LIMIT {min(int(most), MOST_CHANGES)}
            """,  # noqa: S608 - names of the schema
            given,
        ).fetchall()
    return tuple(AlertChange(begun(row[0]), *row[1:]) for row in rows)
