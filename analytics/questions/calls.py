"""Calls: searched by time, site, number, quality, status and codec, newest first or worst first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from analytics.questions.asking import (
    QuestionError,
    begun,
    check_span,
    cursor_time,
    key_number,
    key_text,
    micros,
    moment,
    pack,
    unpack,
)
from analytics.questions.words import Condition, answers, ending, ending_sql, narrowed, where
from analytics.store.files import literal
from analytics.store.resident import MadeColumn
from analytics.store.schema import CALLS, STREAMS

if TYPE_CHECKING:
    import duckdb

    from analytics.store.lake import Lake
    from analytics.store.resident import Held

MOST_ROWS: Final = 10_000
"""Most rows of one page."""
LONGEST: Final = timedelta(hours=12)
"""How long after its first message streams of a call are looked for."""
SLACK: Final = timedelta(minutes=1)
"""How long before it: media may come first."""
FIRST_WINDOW: Final = timedelta(days=1)


class Order(StrEnum):
    """Order of rows."""

    NEWEST = "newest"
    OLDEST = "oldest"
    WORST = "worst"
    """Lowest MOS first, and at the end what has none."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched: rows that begin in a span and meet all words."""

    since: datetime
    until: datetime
    words: tuple[Condition, ...] = ()
    order: Order = Order.NEWEST

    def digest(self) -> str:
        """A short name of the search, so that a cursor is not used with another."""
        said = "|".join([self.order.value, self.since.isoformat(), *map(str, self.words)])
        return hashlib.sha256(said.encode()).hexdigest()[:12]


class CallRow(NamedTuple):
    """One call as packets show it."""

    key: str
    """16 hexadecimal digits."""
    source: str
    call_id: str
    start: datetime
    answer: datetime | None
    end: datetime | None
    state: str
    status: int | None
    """Final SIP status."""
    seconds: float | None
    """Answer to end [s]."""
    pdd_ms: float | None
    """INVITE to first ringing indication [ms]."""
    calling: str | None
    """Calling number or user, not masked: a face masks it."""
    called: str | None
    from_address: str | None
    to_address: str | None
    site: str | None
    other_site: str | None
    legs: int
    streams: int
    mos: float | None
    """Lowest MOS-CQE of its streams."""
    codecs: tuple[str, ...] = ()
    """Codecs of its streams, by name."""
    loss_percent: float | None = None
    """Packets lost of its worst stream [%]."""
    jitter_ms: float | None = None
    """Highest jitter of its streams [ms]."""


class CallList(NamedTuple):
    """One page of calls."""

    rows: tuple[CallRow, ...]
    cursor: str | None
    """Gives the next page; None at the end. Calls that begin or come late move nothing that follows it."""
    since: datetime
    until: datetime


COLUMNS: Final = (
    "call_key", "source", "call_id", 'epoch_us("start")', "epoch_us(answer)", 'epoch_us("end")', "state", "status",
    "seconds", "pdd_ms", "calling", "called", "from_address", "to_address", "site", "other_site", "legs", "streams",
    "mos",
)  # fmt: skip


def search_calls(lake: Lake, search: Search, limit: int = 100, cursor: str | None = None) -> CallList:
    """Return a page of calls; QuestionError where the search or the cursor has no meaning."""
    search, after = continued(search, limit, cursor)
    with lake.reading() as connection:
        rows = found_rows(lake, connection, CALLS.name, "call_key", COLUMNS, search, limit + 1, after)
        page = [call_of(row) for row in rows[:limit]]
        page = _with_streams(lake, connection, page)
    more = cursor_after(search, rows[limit - 1], 3, 18) if len(rows) > limit else None
    return CallList(tuple(page), more, search.since, search.until)


def numbers_in(lake: Lake, since: datetime, until: datetime) -> list[str]:
    """Return the numbers and users on either side of the calls of a span, each once, in their order."""
    check_span(since, until)
    with lake.reading() as connection:
        calls = rows_of(lake, connection, since, until)
        sides = f"SELECT calling AS number FROM ({calls}) UNION SELECT called FROM ({calls})"  # noqa: S608
        rows = connection.execute(f"SELECT number FROM ({sides}) WHERE number IS NOT NULL ORDER BY 1").fetchall()  # noqa: S608
    return [row[0] for row in rows]


def rows_of(lake: Lake, connection: duckdb.DuckDBPyConnection, since: datetime, until: datetime) -> str:
    """Return a query of the calls of a span, from memory where they are held."""
    held = lake.held(CALLS.name)
    if held is None or held.since > since:
        return lake.query(connection, CALLS.name, since=since, until=until)
    return f'SELECT * FROM {held.table} WHERE "start" >= {literal(since)} AND "start" < {literal(until)}'  # noqa: S608


def continued(search: Search, limit: int, cursor: str | None) -> tuple[Search, tuple[Any, ...] | None]:
    """Return the search as its first page had it, and what the page before ended with."""
    if not 1 <= limit <= MOST_ROWS:
        raise QuestionError(f"a page has from 1 to {MOST_ROWS:,} rows")
    if cursor is None:
        check_span(search.since, search.until)
        return search, None
    digest, until, start, key, source, mos = unpack(cursor, [str, int, int, int, str, (int, float, type(None))])
    first = Search(search.since, cursor_time(until), search.words, search.order)
    if digest != first.digest():
        raise QuestionError("the cursor belongs to another search: begin without one")
    check_span(first.since, first.until)
    cursor_time(start)
    return first, (start, key, source, mos)


def cursor_after(search: Search, row: Sequence[Any], start: int, mos: int) -> str:
    """Return the cursor of what follows a row, by the places of its begin and its MOS."""
    return pack([search.digest(), micros(search.until), row[start], row[0], row[1], row[mos]])


def found_rows(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    table: str,
    key: str,
    columns: Sequence[str],
    search: Search,
    limit: int,
    after: tuple[Any, ...] | None,
) -> list[tuple[Any, ...]]:
    """Return rows of `calls` or `streams` in their order, from where the page before ended."""
    found: list[tuple[Any, ...]] = []
    order = {
        Order.NEWEST: f'"start" DESC, {key} DESC, source DESC',
        Order.OLDEST: f'"start", {key}, source',
        Order.WORST: f"mos NULLS LAST, {key}, source",
    }[search.order]
    whole = all(answers(word, table) for word in search.words)
    for (since, until, held), rated in _turns(search, after, lake.held(table), whole=whole):
        wanted, parameters = meeting(lake, connection, table, search, since, until)
        beyond, values = _beyond(search.order, key, after, rated=rated)
        ending = f"WHERE {wanted} AND {beyond} ORDER BY {order} LIMIT {limit - len(found)}"
        if held is None:
            rows = lake.query(connection, table, since=since, until=until)
            sql = f"SELECT {', '.join(columns)} FROM ({rows}) {ending}"  # noqa: S608 - our own names
        else:
            # Which rows they are is found first: texts are read of those alone.
            span = f'"start" >= {literal(since)} AND "start" < {literal(until)}'
            if near := narrowed(search.words):
                span += f" AND rowid IN (SELECT rowid FROM {held.table} WHERE {near})"  # noqa: S608
            chosen = f"SELECT rowid FROM {held.table} {ending.replace('WHERE', f'WHERE {span} AND', 1)}"  # noqa: S608
            sql = f"SELECT {', '.join(columns)} FROM {held.table} WHERE rowid IN ({chosen}) ORDER BY {order}"  # noqa: S608
        found += connection.execute(sql, [*parameters, *values]).fetchall()
        if len(found) >= limit:
            break
    return found


Piece = tuple[datetime, datetime, "Held | None"]
"""Begin, end, and where its rows are held in memory."""


def _turns(
    search: Search, after: tuple[Any, ...] | None, held: Held | None, *, whole: bool
) -> Iterator[tuple[Piece, bool]]:
    """Yield the pieces of a search in the order of their rows; False: those of its rows that have no MOS.

    What has no MOS stands behind all that has one, and is looked for only where a page is not full before.
    """
    worst = search.order is Order.WORST
    for rated in (True, False) if worst else (True,):
        if not (worst and rated and after is not None and after[3] is None):
            yield from ((piece, rated) for piece in _pieces(search, after, held, whole=whole))


def _pieces(search: Search, after: tuple[Any, ...] | None, held: Held | None, *, whole: bool) -> Iterator[Piece]:
    """Cut the span in the order of its rows: what is held in memory from what is not, and both where that helps.

    `whole`: the table alone answers, and what is held is read at once.
    """
    since, until = search.since, search.until
    if after is not None and search.order is Order.NEWEST:
        until = min(until, begun(after[0] + 1))
    elif after is not None and search.order is Order.OLDEST:
        since = max(since, begun(after[0]))
    if search.order is Order.WORST:
        # All of it is compared: no piece is done before the others.
        yield since, until, held if held is not None and held.since <= since else None
        return
    if held is None or held.since >= until:
        parts: list[Piece] = [(since, until, None)]
    else:
        middle = max(since, held.since)
        parts = [(since, middle, None), (middle, until, held)]
    for begin, end, where_held in parts if search.order is Order.OLDEST else reversed(parts):
        if where_held is not None and whole:
            yield begin, end, where_held
        else:
            yield from ((one, other, where_held) for one, other in _windows(begin, end, search.order))


def _windows(since: datetime, until: datetime, order: Order) -> Iterator[tuple[datetime, datetime]]:
    """Cut a span so that few files are read where the first of them hold enough; each piece is three times longer."""
    length = FIRST_WINDOW
    while since < until:
        if order is Order.NEWEST:
            begin = max(since, until - length)
            yield begin, until
            until = begin
        else:
            end = min(until, since + length)
            yield since, end
            since = end
        length = 3 * length


def _beyond(order: Order, key: str, after: tuple[Any, ...] | None, *, rated: bool) -> tuple[str, list[Any]]:
    if order is Order.WORST:
        has = f"mos IS {'NOT ' if rated else ''}NULL"
        if after is None:
            return has, []
        _, number, source, mos = after
        if rated:
            return f"{has} AND (mos, {key}, source) > (?, ?, ?)", [mos, number, source]
        return (has, []) if mos is not None else (f"{has} AND ({key}, source) > (?, ?)", [number, source])
    if after is None:
        return "true", []
    start, number, source, _ = after
    sign = "<" if order is Order.NEWEST else ">"
    return f'(epoch_us("start"), {key}, source) {sign} (?, ?, ?)', [start, number, source]


def meeting(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    table: str,
    search: Search,
    since: datetime,
    until: datetime,
) -> tuple[str, list[Any]]:
    """Words that the table answers itself, and by a look into the other table those that it alone answers."""
    own = where(search.words, table)
    others = [word for word in search.words if not answers(word, table)]
    if not others:
        return own.sql, list(own.parameters)
    if table == CALLS.name:
        other = lake.query(connection, STREAMS.name, since=since - SLACK, until=until + LONGEST)
        asked = where(others, STREAMS.name)
    else:
        other = lake.query(connection, CALLS.name, since=since - LONGEST, until=until + SLACK)
        asked = where(others, CALLS.name)
    sql = f"{own.sql} AND call_key IN (SELECT call_key FROM ({other}) WHERE call_key IS NOT NULL AND {asked.sql})"  # noqa: S608
    return sql, [*own.parameters, *asked.parameters]


def call_of(row: Sequence[Any]) -> CallRow:
    """Return a call from a row of COLUMNS."""
    start, answer, end = row[3:6]
    return CallRow(key_text(row[0]), row[1], row[2], begun(start), moment(answer), moment(end), *row[6:19])


def hold_calls(lake: Lake) -> None:
    """Hold the newest calls in memory, as many as the settings say; takes a while."""
    if lake.settings.held_rows > 0:
        numbers = ("calling", "called")
        lake.hold(
            CALLS.name,
            lake.settings.held_rows,
            [MadeColumn(ending(one), "SMALLINT", ending_sql(one)) for one in numbers],
        )


def _with_streams(lake: Lake, connection: duckdb.DuckDBPyConnection, page: list[CallRow]) -> list[CallRow]:
    """Add what the streams of the calls say."""
    heard = [row for row in page if row.streams]
    if not heard:
        return page
    days = sorted({at.date() for row in heard for at in (row.start - SLACK, row.start, row.end or row.start)})
    keys = [key_number(row.key) for row in heard]
    streams = lake.query(connection, STREAMS.name, only={"day": days})
    rows = connection.execute(
        "SELECT call_key, source, list_sort(list_distinct(list(codec))), max(100.0 * lost / nullif(expected, 0)), "  # noqa: S608
        f"max(jitter_ms) FROM ({streams}) WHERE call_key IN ({', '.join(map(str, keys))}) GROUP BY call_key, source",
    ).fetchall()
    said = {(key_text(key), source): (tuple(codecs), loss, jitter) for key, source, codecs, loss, jitter in rows}
    return [
        row
        if (found := said.get((row.key, row.source))) is None
        else row._replace(codecs=found[0], loss_percent=found[1], jitter_ms=found[2])
        for row in page
    ]
