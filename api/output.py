"""One report from start to end: read, rate, choose, mask, write."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from api.filters import FilterError, masked_expression, parse_filter, select
from api.json_output import Selection, json_chunks
from api.masking import Pseudonyms, mask_call, mask_rated, name_people
from api.progress import Bar, first_interrupt_waits, say
from api.rated import Rated, RatedCall, beginning_with, rate_replay, survey
from api.wording import plural
from collector.facts import Call, Replay

if TYPE_CHECKING:
    from api.storing import Store

MOST_CANDIDATES = 5
NAMED_AHEAD = 1000
"""Calls beyond which a text report names only the people that it prints: the others are never made for it."""
"""Call-IDs named when a prefix fits several."""


class RequestError(ValueError):
    """The request cannot be met; the message is one line for the person who asked."""


class Request(NamedTuple):
    """What was asked for on the command line."""

    files: tuple[str, ...]
    format: str = "text"
    out: Path | None = None
    call: str | None = None
    filter: str | None = None
    top: int = 10
    deep: bool = False
    show_numbers: bool = False
    progress: bool | None = None
    store: Path | None = None
    """Store in which all of the capture is kept, whatever the report shows of it."""
    estate: Path | None = None
    """Estate that says at which sites it was."""
    html: Path | None = None
    """File for the pages of the calls, beside the report."""

    @property
    def live(self) -> bool:
        """A pipe is read."""
        return "-" in self.files


def report(request: Request) -> bool:
    """Meet a request; True when the input was only partly readable. Raises `RequestError`."""
    check(request)
    if request.store is None:
        return report_into(request, None)
    from analytics.store.settings import StoreError
    from api.storing import Store
    from collector.estate.problems import EstateError

    try:
        with closing(Store(request.store, request.estate)) as store:
            return report_into(request, store)
    except (StoreError, EstateError) as error:
        raise RequestError(str(error)) from None


def report_into(request: Request, store: Store | None) -> bool:
    """Read, keep and write; True when the input was only partly readable or could not be kept."""
    names = Pseudonyms()
    replay = read(request, names)
    if not request.show_numbers and (request.format != "text" or request.filter or len(replay.calls) <= NAMED_AHEAD):
        name_people(replay, names)
    # A summary shows little of what there is: the rest is never made.
    whole = request.html is not None or store is not None
    summary = request.format == "text" and request.call is None and request.filter is None and not whole
    rated = survey(replay) if summary else rate_replay(replay)
    kept = None if store is None else store.keep(rated, time.time_ns())
    chosen = rated if summary else choose(rated, request, names)
    written = write(chosen, request, names, "" if kept is None else kept.sentence)
    if request.html is not None:
        written = [*written, write_pages(chosen, request, names, request.html)]
    for line in written:
        say(line)
    if replay.capture.stopped is not None:
        say(replay.capture.stopped)
    return replay.capture.stopped is not None or (kept is not None and not kept.complete)


def check(request: Request) -> None:
    """Refuse what cannot work before hours of reading."""
    if request.estate is not None and request.store is None:
        raise RequestError("--estate says where the stored calls were: add --store DIR")
    if request.format == "parquet" and request.out is None:
        raise RequestError("--format parquet writes files: add --out DIR")
    if request.files.count("-") > 1:
        raise RequestError("- can be read only once")
    if request.deep:
        if request.format != "text":
            raise RequestError("--deep belongs to --format text")
        from api.deep import TsharkError, require_tshark

        try:
            require_tshark()
        except TsharkError as error:
            raise RequestError(str(error)) from None
        if request.live:
            raise RequestError("--deep reads the capture a second time, which a pipe cannot give")
    if request.filter is not None:
        try:
            parse_filter(request.filter)
        except FilterError as error:
            raise RequestError(str(error)) from None


def read(request: Request, names: Pseudonyms) -> Replay:
    """Replay the files."""
    from api.replay import ReplaySettings, replay_files
    from collector.capture.files import CaptureError

    if request.store is not None:
        settings = ReplaySettings.to_keep()
    else:
        settings = ReplaySettings() if request.html is None else ReplaySettings.to_draw()
    wanted = sys.stderr.isatty() if request.progress is None else request.progress
    bar = Bar(wanted and not (request.live and request.format == "text"))
    try:
        with first_interrupt_waits() if request.live else nullcontext():
            return replay_files(
                request.files,
                settings,
                on_progress=bar.update,
                on_call=call_printer(request, names),
                on_note=bar.note,
            )
    except CaptureError as error:
        raise RequestError(str(error)) from None
    finally:
        bar.close()


def call_printer(request: Request, names: Pseudonyms) -> Callable[[Call], None] | None:
    """Prints calls as they end, where someone watches a pipe."""
    if not request.live or request.format != "text" or request.out is not None:
        return None

    def print_call(call: Call) -> None:
        from api.terminal import call_line

        show(call_line(call if request.show_numbers else mask_call(call, names)) + "\n")
        sys.stdout.flush()

    return print_call


def choose(rated: Rated, request: Request, names: Pseudonyms) -> Rated:
    """What was asked for."""
    if request.call is not None:
        chosen = find_call(rated, request.call)
        rated = rated._replace(calls=(chosen,), streams=chosen.streams)
    if request.filter is not None:
        rated = select(rated, parse_filter(request.filter, None if request.show_numbers else names))
    return rated


def find_call(rated: Rated, wanted: str) -> RatedCall:
    """The call that has a leg of this Call-ID, or the one call that has a leg whose Call-ID begins so."""
    calls = beginning_with(rated.calls, wanted)
    call_ids = {leg.call_id: call for call in calls for leg in call.call.legs}
    call_ids.update({call.call.call_id: call for call in calls})
    if wanted in call_ids:
        return call_ids[wanted]
    found = {call.call.call_id: call for call_id, call in call_ids.items() if call_id.startswith(wanted)}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise RequestError(f"no Call-ID begins with “{wanted}”; the input has {plural(len(rated.calls), 'call')}")
    some = ", ".join(list(found)[:MOST_CANDIDATES])
    raise RequestError(
        f"“{wanted}” begins the Call-IDs of {len(found):,} calls: {some}{', …' if len(found) > 5 else ''}"
    )


def write(rated: Rated, request: Request, names: Pseudonyms, kept: str = "") -> list[str]:
    """Write a report where it was asked for; what was written, in lines for stderr. `kept` ends a text report."""
    if request.format == "text":
        end = f"\n{kept}\n" if kept else ""
        return place([text_report(rated, request, names), end], request.out, "report.txt")
    kept_lines = [kept] if kept else []
    if not request.show_numbers:
        rated = mask_rated(rated, names)
    if request.format == "json":
        return place(json_chunks(rated, selection(rated, request, names)), request.out, "report.json") + kept_lines
    return write_tables(rated, request) + kept_lines


def write_pages(rated: Rated, request: Request, names: Pseudonyms, path: Path) -> str:
    """Write the pages of the calls as one file; what was written, as a line for stderr."""
    from api.call_pages.writing import call_pages

    if not request.show_numbers:
        rated = mask_rated(rated, names)
    with path.open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(call_pages(rated, masked=not request.show_numbers))
    return f"wrote {path}"


def selection(rated: Rated, request: Request, names: Pseudonyms) -> Selection:
    """What was asked for, as the report repeats it."""
    call = rated.calls[0].call.call_id if request.call is not None and rated.calls else request.call
    return Selection(shown_filter(request, names), call, not request.show_numbers)


def shown_filter(request: Request, names: Pseudonyms) -> str | None:
    """The filter as the report repeats it."""
    if request.filter is None or request.show_numbers:
        return request.filter
    return masked_expression(request.filter, names)


def write_tables(rated: Rated, request: Request) -> list[str]:
    """CSV or Parquet: a file per table, or the streams alone on stdout."""
    from api.tables import csv_text, tables, write_parquet

    made = tables(rated)
    if request.out is None:
        show(csv_text(made[1]), newline="")
        return []
    request.out.mkdir(parents=True, exist_ok=True)
    for table in made:
        path = request.out / f"{table.name}.{request.format}"
        if request.format == "csv":
            path.write_text(csv_text(table), encoding="utf-8", errors="replace", newline="")
        else:
            write_parquet(table, path)
    return [f"wrote {', '.join(f'{table.name}.{request.format}' for table in made)} to {request.out}"]


def place(chunks: Iterable[str], out: Path | None, name: str) -> list[str]:
    """Write a text, piece by piece, to stdout or into a file of the folder."""
    if out is None:
        sys.stdout.writelines(chunks)
        return []
    out.mkdir(parents=True, exist_ok=True)
    with (out / name).open("w", encoding="utf-8", errors="replace") as file:
        file.writelines(chunks)
    return [f"wrote {out / name}"]


def show(text: str, newline: str | None = None) -> None:
    """Write to stdout."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if newline is not None and reconfigure is not None:
        reconfigure(newline=newline)
    sys.stdout.write(text)


def text_report(rated: Rated, request: Request, names: Pseudonyms) -> str:
    """The terminal report, or one call in full."""
    from api.layout import Screen
    from api.terminal import TextOptions, render_summary
    from api.terminal_call import render_call

    terminal = sys.stdout.isatty() and request.out is None
    columns = shutil.get_terminal_size((100, 24)).columns if terminal or "COLUMNS" in os.environ else 100
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    screen = Screen(max(60, columns), colour)
    options = TextOptions(
        request.files, request.top, None if request.show_numbers else names, shown_filter(request, names)
    )
    if request.call is None:
        return render_summary(rated, options, screen)
    if not rated.calls:
        raise RequestError("--filter leaves nothing of this call")
    text = render_call(rated.calls[0], options, screen)
    if request.deep:
        from api.deep import TsharkError, decode_call

        try:
            text += decode_call(request.files, rated.calls[0], options.names)
        except TsharkError as error:
            raise RequestError(str(error)) from None
    return text
