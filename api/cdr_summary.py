"""What an import of call records says at its end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from api.layout import clean

if TYPE_CHECKING:
    from analytics.usage.derive import Derived
    from collector.cdr.importing import Summary
    from collector.cdr.rejects import Rejects
    from collector.cdr.sequence import Gap, Silence

SHOWN = 10
"""Files or gaps that are listed of each kind; the rest is counted."""


def lines(summary: Summary, rejects: Rejects, dry_run: bool) -> Iterator[str]:
    """Lines of the summary, for people."""
    read = sum(summary.imported.values())
    kinds = ", ".join(f"{n:,} {source} {record}" for (source, record), n in sorted(summary.imported.items()))
    yield _line("files", f"{summary.found:,} found, {read:,} {'tried' if dry_run else 'imported'}" + _in(kinds))
    if summary.already:
        yield _line("", f"{summary.already:,} imported before, or the same as another")
    yield from _skipped(summary)
    kept = ", ".join(f"{n:,} {record}" for record, n in sorted(summary.kept.items()) if n)
    yield _line(
        "records", f"{summary.rows:,} read, {sum(summary.kept.values()):,} {'good' if dry_run else 'kept'}" + _in(kept)
    )
    if summary.first is not None and summary.last is not None:
        yield _line("", f"from {summary.first:%Y-%m-%d %H:%M:%S} to {summary.last:%Y-%m-%d %H:%M:%S} UTC")
    if summary.calls:
        yield _line("calls", f"{summary.calls:,} by the numbers that the exchange gave them; usage joins their parts")
    if summary.copies:
        yield _line("copies", f"{summary.copies:,} records that another one repeats; usage counts them once")
    yield from _rejected(summary, rejects)
    yield from _missing(summary.gaps)
    yield from _silent(summary.silences)
    if dry_run:
        yield _line("", "nothing was kept: this was a dry run")


def rated_line(rated: Derived | None) -> str:
    """What was made of the records; None where no estate was named."""
    if rated is None:
        return _line("rated", "nothing: name the estate with --estate, now or later (callgauge rerate)")
    if not rated.days:
        return _line("rated", "nothing new")
    return _line("rated", f"{rated.lines:,} usage lines of {rated.days:,} days")


def _line(what: str, text: str) -> str:
    return f"{what:<10}{text}"


def _in(kinds: str) -> str:
    return f" ({kinds})" if kinds else ""


def _skipped(summary: Summary) -> Iterator[str]:
    order = sorted(summary.skipped, key=lambda skip: (skip.reason, str(skip.path)))
    for reason, group in groupby(order, key=lambda skip: skip.reason):
        every = list(group)
        yield _line("skipped", f"{len(every):,} {reason}")
        for skip in every[:SHOWN]:
            yield _line("", f"{clean(str(skip.path))}: {clean(skip.sentence)}")
        if len(every) > SHOWN:
            yield _line("", f"and {len(every) - SHOWN:,} more")
    for path, sentence in sorted(summary.refused.items()):
        yield _line("broken", f"{clean(str(path))}: {clean(sentence)}")


def _rejected(summary: Summary, rejects: Rejects) -> Iterator[str]:
    if not summary.rejected:
        return
    yield _line("rejected", f"{summary.rejected.total():,}")
    for reason, count in summary.rejected.most_common():
        yield _line("", f"{count:,} {clean(reason)}")
    where = f"written with file and line to {rejects.path}"
    more = f", the first {rejects.written:,} of them" if rejects.written < summary.rejected.total() else ""
    yield _line("", where + more)


def _missing(gaps: list[Gap]) -> Iterator[str]:
    if not gaps:
        return
    files = sum(gap.files for gap in gaps)
    yield _line("missing", f"{files:,} {'file' if files == 1 else 'files'} by the numbers in the names")
    for gap in gaps[:SHOWN]:
        numbers = f"{gap.first}" if gap.files == 1 else f"{gap.first} to {gap.last}"
        yield _line(
            "",
            f"{clean(gap.node)} {gap.record}: {numbers}, between {gap.after:%Y-%m-%d %H:%M} and {gap.before:%H:%M} UTC",
        )
    if len(gaps) > SHOWN:
        yield _line("", f"and {len(gaps) - SHOWN:,} more gaps")


def _silent(silences: list[Silence]) -> Iterator[str]:
    if not silences:
        return
    minutes = sum(silence.minutes for silence in silences)
    yield _line(
        "silent",
        f"{minutes:,} {'minute' if minutes == 1 else 'minutes'} without a file, in feeds that send one a minute",
    )
    for silence in silences[:SHOWN]:
        span = f"{silence.first:%Y-%m-%d %H:%M}" + (f" to {silence.last:%H:%M}" if silence.minutes > 1 else "")
        yield _line("", f"{clean(silence.node)} {silence.record}: {span} UTC")
    if len(silences) > SHOWN:
        yield _line("", f"and {len(silences) - SHOWN:,} more")
