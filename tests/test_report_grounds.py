"""Reports say what their lines were rated by, and which months, days and files are not in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from estate_files import write_estate
from filled_rows import filled
from records_made import arrow
from usage_rows import LONDON, line, usage_table

from analytics.cost.document import Document
from analytics.store.lake import Lake
from analytics.store.schema import CDR_ROWS, IMPORTS, RATINGS
from api.report.gaps import day_facts, month_facts
from api.report.making import ReportError, Request, make
from api.report.rated_by import present_digest
from collector.cdr.feed import missing_between
from collector.estate.folder import load_estate

LATER = datetime(2025, 12, 10, 12, tzinfo=UTC)
OCTOBER, NOVEMBER = 202510, 202511
FIRST = date(2025, 10, 1)
RATED = datetime(2025, 11, 2, tzinfo=UTC)


class Place:
    """A store with two days of usage, and its estate."""

    def __init__(self, root: Path) -> None:
        self.store, self.estate = root / "store", root / "estate"
        self.estate.mkdir()
        write_estate(self.estate)
        self.lake = Lake.open(self.store, create=True)
        ten = datetime(2025, 10, 1, 10, tzinfo=LONDON)
        self.lake.append(
            "usage", usage_table([line(ten + timedelta(days=n // 10, minutes=n)) for n in range(20)]), batch="usage"
        )

    def rate(self, day: date, estate: str | None, tariffs: str | None, rated: datetime = RATED) -> None:
        row = {"month": rated.date().replace(day=1), "rated_day": day, "rated": rated, "records": 10}
        rows = arrow(RATINGS, [{**row, "estate": estate, "tariffs": tariffs}])
        self.lake.append("ratings", rows, batch=f"{day} {rated}")

    def digest(self) -> str:
        return load_estate(self.estate).digest

    def document(self, name: str = "sites", months: tuple[int, ...] = (OCTOBER,), now: datetime = LATER) -> Document:
        return make(Request(name, months, self.store, self.estate, now))

    def facts(self, name: str = "sites", months: tuple[int, ...] = (OCTOBER,), now: datetime = LATER) -> dict[str, str]:
        return dict(self.document(name, months, now).facts)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.lake.close()


@pytest.mark.parametrize("name", ["sites", "access", "savings", "costs"])
def test_every_report_says_that_its_lines_were_rated_by_what_it_names(place: Place, name: str) -> None:
    for turn in range(2):
        place.rate(FIRST + timedelta(days=turn), place.digest(), None)
    document = place.document(name)
    assert dict(document.facts)["Rated"] == "by this estate and these tariffs"
    assert ("estate of the lines", f"sha256:{place.digest()}, 2 days") in document.sources
    assert ("tariffs of the lines", "none, 2 days") in document.sources


def test_days_that_were_rated_by_other_tariffs_or_another_estate_are_counted(place: Place) -> None:
    place.rate(FIRST, place.digest(), "ab" * 32)
    place.rate(FIRST + timedelta(days=1), "cd" * 32, None)
    document = place.document()
    said = dict(document.facts)["Rated"]
    assert "1 day was rated by other tariffs" in said
    assert "1 day was rated by another estate" in said
    assert said.endswith("callgauge rerate --dry-run says what would move")
    assert ("tariffs of the lines", f"sha256:{'ab' * 32}, 1 days") in document.sources


def test_the_newest_rating_of_a_day_counts(place: Place) -> None:
    for turn in range(2):
        day = FIRST + timedelta(days=turn)
        place.rate(day, "cd" * 32, None)
        place.rate(day, place.digest(), None, RATED + timedelta(days=1))
    assert place.facts()["Rated"] == "by this estate and these tariffs"


def test_tariffs_that_came_after_the_rating_are_other_tariffs(place: Place) -> None:
    place.rate(FIRST, None, None)
    place.rate(FIRST + timedelta(days=1), None, None)
    folder = place.estate / "tariffs" / "ip" / "2025-04-01"
    folder.mkdir(parents=True)
    (folder / "rates.csv").write_text("")
    digest = present_digest(place.estate)
    document = place.document("access")
    assert "2 days were rated by another estate and other tariffs" in dict(document.facts)["Rated"]
    assert ("tariffs", f"sha256:{digest}") in document.sources


def test_what_the_store_does_not_say_is_said(place: Place) -> None:
    place.rate(FIRST, place.digest(), None)
    assert place.facts()["Rated"] == "the store does not say by what 1 day was rated"


def test_days_that_wait_to_be_rated_are_counted(place: Place) -> None:
    stamp = datetime(2025, 10, 7, 9, tzinfo=UTC)
    rows = [
        {"day": at.date(), "row_key": n, "file_key": 5, "line": n, "origination": at, "source": "cucm", "system": ""}
        for n, at in enumerate((stamp, stamp + timedelta(days=1), stamp + timedelta(days=60)))
    ]
    place.lake.append("cdr_rows", filled(CDR_ROWS, rows), batch="late")
    assert "2 days wait to be rated, with records that are in no figure: callgauge rerate" in place.facts()["Rated"]


def test_records_that_no_line_was_made_of_are_no_reason_to_import_again(place: Place) -> None:
    at = datetime(2025, 9, 9, 9, tzinfo=UTC)
    row = {"day": at.date(), "row_key": 1, "file_key": 5, "line": 1, "origination": at, "source": "cucm", "system": ""}
    place.lake.append("cdr_rows", filled(CDR_ROWS, [row]), batch="late")
    with pytest.raises(ReportError, match="of September 2025: 1 day of records waits to be rated by callgauge rerate"):
        place.document(months=(202509,))


def test_a_month_that_lies_in_the_future_is_refused_and_one_that_goes_on_is_called_so(place: Place) -> None:
    with pytest.raises(ReportError, match=r"^November 2025 lies in the future: there is nothing to report of it$"):
        place.document(months=(OCTOBER, NOVEMBER), now=datetime(2025, 10, 31, 23, 59, tzinfo=UTC))
    on = place.facts(now=datetime(2025, 10, 20, tzinfo=UTC))
    assert on["Not over"] == "October 2025 goes on: its calls are those of a part of it"
    assert "Not over" not in place.facts(now=datetime(2025, 11, 1, tzinfo=UTC))


def test_a_month_begins_by_the_clock_of_the_estate(place: Place) -> None:
    # 30 September 23:30 UTC is 1 October in London.
    assert "Not over" in place.facts(now=datetime(2025, 9, 30, 23, 30, tzinfo=UTC))


def test_months_without_records_are_named_in_every_report(place: Place) -> None:
    for name in ("sites", "access"):
        said = place.facts(name, (202508, 202509, OCTOBER, NOVEMBER))["Months without records"]
        assert said == "August 2025 to September 2025; November 2025: in no figure here"


def test_days_without_records_are_named(place: Place) -> None:
    # 1 and 2 October are a Wednesday and a Thursday; no Saturday or Sunday of the month has a record.
    said = place.facts()["Days without records"]
    assert (
        said == "21 days: 2025-10-03; 2025-10-06 to 2025-10-10; 2025-10-13 to 2025-10-17; "
        "2025-10-20 to 2025-10-24; and 1 more"
    )


def month_but(*missing: int) -> dict[int, set[date]]:
    return {OCTOBER: {date(2025, 10, day) for day in range(1, 32) if day not in missing}}


def test_a_day_off_is_missing_only_where_others_of_its_kind_have_records() -> None:
    weekends = [4, 5, 11, 12, 18, 19, 25, 26]
    assert day_facts([OCTOBER], month_but(), (), date(2026, 1, 1)) == []
    assert day_facts([OCTOBER], month_but(*weekends), (), date(2026, 1, 1)) == []
    assert day_facts([OCTOBER], month_but(4), (), date(2026, 1, 1)) == [("Days without records", "1 day: 2025-10-04")]
    holiday = {date(2025, 10, 6)}
    assert day_facts([OCTOBER], month_but(6, *weekends), holiday, date(2026, 1, 1)) == []
    assert day_facts([OCTOBER], month_but(6), holiday, date(2026, 1, 1)) != []


def test_days_that_are_to_come_are_not_missing() -> None:
    days = {OCTOBER: {date(2025, 10, 1), date(2025, 10, 2)}}
    assert day_facts([OCTOBER], days, (), date(2025, 10, 3)) == []
    assert day_facts([OCTOBER], days, (), date(2025, 10, 4)) == [("Days without records", "1 day: 2025-10-03")]


def test_a_month_without_any_record_is_told_as_a_month_and_not_by_its_days() -> None:
    assert day_facts([202509, OCTOBER], month_but(), (), date(2026, 1, 1)) == []
    assert month_facts([202509, OCTOBER], month_but(), date(2026, 1, 1)) == [
        ("Months without records", "September 2025: in no figure here")
    ]


def feed(lake: Lake, node: str, numbers: dict[int, int], record: str = "cdr") -> None:
    """Files of a node: number by minute after 10:00 on 1 October."""
    rows = []
    for minute, number in numbers.items():
        at = datetime(2025, 10, 1, 10, tzinfo=UTC) + timedelta(minutes=minute)
        rows.append(
            {
                "month": FIRST,
                "file_key": hash((node, record, minute)) >> 2,
                "name": f"{record}_{node}_{at:%Y%m%d%H%M}_{number}",
                "record": record,
                "imported": at,
                "node": node,
                "sequence": number,
            }
        )
    lake.append("imports", filled(IMPORTS, rows), batch=f"{node} {record}")


def test_files_that_a_feed_lost_are_told(place: Place) -> None:
    feed(place.lake, "HQ_01", {0: 7, 1: 8, 4: 12})
    feed(place.lake, "HQ_02", {0: 1, 1: 2})
    assert place.facts()["Missing files"] == (
        "3 files did not come: 3 of HQ_01 (cdr) between 2025-10-01 10:01 and 2025-10-01 10:04 UTC"
    )


def test_a_gap_that_reaches_into_the_span_counts_and_one_beyond_it_does_not(place: Place) -> None:
    feed(place.lake, "HQ_01", {0: 7, 60: 9, 120: 11})
    ten = datetime(2025, 10, 1, 10, tzinfo=UTC)
    found = missing_between(place.lake, ten + timedelta(minutes=30), ten + timedelta(minutes=40))
    assert [(gap.first, gap.last) for gap in found] == [(8, 8)]
    assert missing_between(place.lake, ten + timedelta(days=1), ten + timedelta(days=2)) == []


def test_records_that_share_their_numbers_have_no_gaps(place: Place) -> None:
    feed(place.lake, "HQ_01", {0: 1, 1: 3, 2: 5})
    feed(place.lake, "HQ_01", {0: 2, 1: 4, 2: 6}, "cmr")
    assert "Missing files" not in place.facts()
