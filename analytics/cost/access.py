"""Public access: can people reach us? Calls by public number, site and hour, and how long people waited.

A call is offered when it comes in from outside; abandoned is every offered call that nobody answered, whoever gave up.
The share within a target is of offered calls: who gave up was not answered in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from analytics.cost.counts import Counts, enter_held, first_held, name_part, said
from analytics.cost.disclosure import Held
from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.figures import Book, Evidence
from analytics.cost.months import last_day, spoken_span
from analytics.cost.names import key_of
from analytics.sites import EstateSettings, PublicNumber
from analytics.store.site_queries import CDR, AccessSum

BUCKETS = (5, 10, 20, 30, 60, 120)
"""Upper ends of the spans that times to answer are counted in [s]; targets are added to them."""
HOURS = 24
MEASURES = ("answered", "abandoned", "offered")
"""Counts of every table; the last is the sum of the others."""
_NONE_ANSWERED = "no call was answered"
_NOT_IN_PACKETS = "packets do not say what was redirected inside the exchange"


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """All that the report is made from."""

    settings: EstateSettings
    public_numbers: tuple[PublicNumber, ...]
    months: tuple[int, ...]
    numbers: tuple[AccessSum, ...]
    """By public number, from records; those without records from packets."""
    sites: tuple[AccessSum, ...]
    hours: dict[int, tuple[int, int]]
    """Offered and answered by hour of the local day."""
    every_number: tuple[AccessSum, ...] | None = None
    every_site: tuple[AccessSum, ...] | None = None
    """All rows where those above are of one site: what the report of all holds back, that of one does too."""
    sources: tuple[tuple[str, str], ...] = ()
    usage_source: str = "usage"
    calls_source: str = "calls"


@dataclass(frozen=True, slots=True)
class Target:
    """When a call to a number counts as answered in time."""

    label: str
    seconds: int
    share: Decimal
    """Share of offered calls that should be [0 to 1]."""
    origin: str


def bounds_of(settings: EstateSettings, numbers: Sequence[PublicNumber]) -> tuple[int, ...]:
    """Return the upper ends of the spans that times are counted in [s]: all targets are among them."""
    return tuple(sorted({*BUCKETS, settings.target_seconds, *(number.target_seconds for number in numbers)}))


def target_of(facts: AccessFacts, name: str | None) -> Target:
    """Return a number's target: as it was stated on the last day of the months, else the estate's."""
    day = last_day(max(facts.months))
    stated = [one for one in facts.public_numbers if one.number == (name or "").removeprefix("+")]
    for one in [one for one in stated if one.valid.holds(day)] or stated:
        label = f"{one.label} {one.number}".strip()
        return Target(label, one.target_seconds, one.target_share, str(one.origin))
    settings = facts.settings
    return Target(name or "no site", settings.target_seconds, settings.target_share, "estate.toml")


def access_document(facts: AccessFacts, *, exact: bool = False) -> Document:
    """Describe how the public was answered; counts under 5 at a site are held back unless `exact`.

    Counts by public number and by hour are told as they are: they are calls of the public, and say nothing of staff.
    """
    book = Book()
    bounds = bounds_of(facts.settings, facts.public_numbers)
    numbers = _Group("number", "Public numbers", facts, book, bounds, facts.numbers)
    sites = _Group("site", "Sites", facts, book, bounds, facts.sites)
    public, by_site = Counts(facts.usage_source), Counts(facts.usage_source)
    numbers.count(public)
    _count_hours(facts, public)
    sites.count(by_site)
    _know_of_numbers(facts, by_site, sites, numbers)
    numbers.measure(public.enter(book, exact=True))
    sites.measure(by_site.enter(book, exact=exact, also=_held_in_all(facts, bounds)))
    sections = [numbers.section("numbers", "Number", _numbers_sentence(numbers)), numbers.times("times")]
    if facts.sites:
        sections.append(
            sites.section("sites", "Site", "By the site that answered, else that should have; from records.")
        )
    if facts.hours:
        sections.append(_hours(facts))
    without = _silent(facts)
    return Document(
        name="access",
        title=f"Public access to {facts.settings.name}, {spoken_span(facts.months)}",
        sentence=_sentence(numbers),
        facts=tuple(_facts(facts, without, exact=exact)),
        sections=tuple(sections),
        book=book,
        currency=facts.settings.currency,
        sources=facts.sources,
    )


def _know_of_numbers(facts: AccessFacts, counts: Counts, sites: _Group, numbers: _Group) -> None:
    """Say what the table of public numbers tells of the sums of sites: the same calls, and told as they are."""
    recorded = [row for row in numbers.rows if row.known_from == CDR]
    for measure, amount in _MEASURED:
        parts = [sites.key(row.name, measure) for row in sites.rows]
        told = sum(amount(row) for row in recorded)
        if parts and told == sum(amount(row) for row in sites.rows):
            counts.know(key_of("number", "#told", measure), told, parts)
            if measure in MEASURES:
                counts.know(key_of("number", "#sum", measure), told, [key_of("site", "#all", measure)])
    for turn in range(len(sites.bounds)):
        parts = [sites.key(row.name, f"≤{sites.bounds[turn]}") for row in sites.rows]
        told = sum(_span(row, turn) for row in recorded)
        if parts and told == sum(_span(row, turn) for row in sites.rows):
            counts.know(key_of("number", "#told", f"≤{sites.bounds[turn]}"), told, parts)


def _span(row: AccessSum, turn: int) -> int:
    """Calls answered within a bound and not within the one before."""
    return row.within[turn] - (row.within[turn - 1] if turn else 0)


_MEASURED: tuple[tuple[str, Callable[[AccessSum], int]], ...] = (
    ("answered", lambda row: row.answered),
    ("abandoned", lambda row: row.offered - row.answered),
    ("offered", lambda row: row.offered),
    ("moved", lambda row: row.transferred or 0),
    ("direct", lambda row: row.answered - (row.transferred or 0)),
    (">", lambda row: row.timed - (row.within[-1] if row.within else 0)),
    ("untimed", lambda row: row.answered - row.timed),
)
"""Counts that stand in both tables, but the spans of times."""


def _held_in_all(facts: AccessFacts, bounds: Sequence[int]) -> dict[str, Held]:
    """Counts of sites that the report of all sites holds back; none where this is that report."""
    if facts.every_site is None or facts.every_number is None:
        return {}
    everyone = replace(facts, numbers=facts.every_number, sites=facts.every_site)
    numbers = _Group("number", "", everyone, Book(), bounds, everyone.numbers)
    sites = _Group("site", "", everyone, Book(), bounds, everyone.sites)
    counts = Counts(facts.usage_source)
    sites.count(counts)
    _know_of_numbers(everyone, counts, sites, numbers)
    own = tuple(key_of("site", name_part(row.name), "") for row in facts.sites)
    return {key: how for key, how in counts.held().items() if key.startswith(own)}


class _Group:
    """Rows of one kind: numbers or sites."""

    def __init__(
        self,
        kind: str,
        label: str,
        facts: AccessFacts,
        book: Book,
        bounds: Sequence[int],
        rows: Sequence[AccessSum],
    ) -> None:
        self.kind = kind
        self.label = label
        self.facts = facts
        self.book = book
        self.bounds = bounds
        self.rows = rows
        self.held: dict[str, Held] = {}

    def key(self, name: str | None, measure: object) -> str:
        return key_of(self.kind, name_part(name), measure)

    def target(self, row: AccessSum) -> Target:
        if self.kind == "number":
            return target_of(self.facts, row.name)
        found = target_of(self.facts, None)
        return Target(row.name or "no site", found.seconds, found.share, found.origin)

    def source(self, row: AccessSum) -> str:
        return self.facts.usage_source if row.known_from == CDR else self.facts.calls_source

    def count(self, counts: Counts) -> None:
        """Add the counts of all rows and their sums."""
        for row in self.rows:
            self._count(counts, row)
        if not self.rows:
            return
        for measure in MEASURES:
            parts = [self.key(row.name, measure) for row in self.rows]
            counts.add_sum(key_of(self.kind, "#all", measure), f"{measure}, all", parts)
        counts.bind(*(key_of(self.kind, "#all", measure) for measure in MEASURES))

    def measure(self, held: dict[str, Held]) -> None:
        """Enter what was measured of the calls that were counted."""
        self.held = held
        for row in self.rows:
            self._measure(row)

    def _count(self, counts: Counts, row: AccessSum) -> None:
        name = self.target(row).label
        seconds = self.target(row).seconds
        before = 0
        spans = []
        for bound, within in zip(self.bounds, row.within, strict=True):
            spans.append(
                counts.add(self.key(row.name, f"≤{bound}"), f"{name}, answered in ≤ {bound} s", within - before)
            )
            before = within
        late = counts.add(self.key(row.name, ">"), f"{name}, answered later", row.timed - before)
        untimed = counts.add(
            self.key(row.name, "untimed"), f"{name}, answered at no known time", row.answered - row.timed
        )
        in_time = [span for span, bound in zip(spans, self.bounds, strict=True) if bound <= seconds]
        counts.add_sum(self.key(row.name, "within"), f"{name}, answered within {seconds} s", in_time)
        answered = counts.add_sum(self.key(row.name, "answered"), f"{name}, answered", [*spans, late, untimed])
        lost = counts.add(self.key(row.name, "abandoned"), f"{name}, abandoned", row.offered - row.answered)
        counts.add_sum(self.key(row.name, "offered"), f"{name}, offered", [answered, lost])
        if row.transferred is not None:
            moved = counts.add(self.key(row.name, "moved"), f"{name}, redirected before an answer", row.transferred)
            direct = counts.add(
                self.key(row.name, "direct"), f"{name}, answered where it rang first", row.answered - row.transferred
            )
            counts.bind(moved, direct, answered)

    def _measure(self, row: AccessSum) -> None:
        target = self.target(row)
        book, source = self.book, self.source(row)
        for measure, label, value in (
            ("median", "median", row.median),
            ("p90", "90th percentile", row.p90),
            ("p95", "95th percentile", row.p95),
        ):
            held = first_held(self.held, [self.key(row.name, "answered")])
            told = f"{target.label}, {label} of seconds to answer"
            enter_held(book, self.key(row.name, measure), told, "seconds", value, source, held=held, why=_NONE_ANSWERED)
        book.enter(
            self.key(row.name, "target"),
            f"{target.label}, target",
            "seconds",
            target.seconds,
            Evidence.MEASURED,
            target.origin,
        )
        book.enter(
            self.key(row.name, "goal"),
            f"{target.label}, share that should be in time",
            "percent",
            target.share * 100,
            Evidence.MEASURED,
            target.origin,
        )
        within, offered = self.key(row.name, "within"), self.key(row.name, "offered")
        book.compute(
            self.key(row.name, "share"),
            f"{target.label}, share in time",
            "percent",
            f"100 * {{{within}}} / {{{offered}}}",
        )
        if row.transferred is None:
            book.miss(self.key(row.name, "moved"), f"{target.label}, redirected", "calls", _NOT_IN_PACKETS, source)

    def verdict(self, row: AccessSum) -> str:
        """Whether a row reaches its goal, in a word."""
        share = self.book.value(self.key(row.name, "share"))
        goal = self.book.value(self.key(row.name, "goal"))
        if share is None or goal is None:
            return "not known"
        return "met" if share >= goal else "missed"

    def section(self, name: str, head: str, sentence: str) -> Section:
        """The table of the group."""
        measures = ("offered", "answered", "abandoned", "moved", "median", "p90", "p95", "target", "share", "goal")
        rows = []
        for row in self.rows:
            cells: list[Cell] = [self.target(row).label, row.known_from]
            cells.extend(Ref(self.key(row.name, measure)) for measure in measures)
            rows.append(Row((*cells, self.verdict(row))))
        if not rows:
            return Section(name, self.label, sentence, (Head(head),), ())
        totals: list[Cell] = [Ref(key_of(self.kind, "#all", measure)) for measure in measures[:3]]
        rows.append(Row(("All", "", *totals, *[""] * (len(measures) - 2)), total=True))
        heads = (
            Head(head),
            Head("Known from"),
            Head("Offered", "calls"),
            Head("Answered", "calls"),
            Head("Abandoned", "calls"),
            Head("Redirected", "calls"),
            Head("Median", "seconds"),
            Head("p90", "seconds"),
            Head("p95", "seconds"),
            Head("Target", "seconds"),
            Head("In time", "percent"),
            Head("Goal", "percent"),
            Head("Verdict"),
        )
        return Section(name, self.label, sentence, heads, tuple(rows))

    def times(self, name: str) -> Section:
        """Times to answer as a distribution."""
        spans = [f"≤{bound}" for bound in self.bounds] + [">"]
        labels = [f"≤ {bound}" for bound in self.bounds] + [f"> {self.bounds[-1]}"]
        rows = tuple(
            Row((self.target(row).label, *(Ref(self.key(row.name, span)) for span in spans))) for row in self.rows
        )
        lines = tuple((self.target(row).label, self.key(row.name, "target")) for row in self.rows)
        return Section(
            name,
            "Seconds to answer",
            "Answered calls by the seconds that people waited; a call stands in the first column that holds it.",
            (Head("Number"), *(Head(label, "calls") for label in labels)),
            rows,
            plot=Plot(Shape.HISTOGRAM, lines=lines),
        )


def _numbers_sentence(group: _Group) -> str:
    if not group.rows:
        return "No call to a public number is known in these months."
    verdicts = [group.verdict(row) for row in group.rows]
    unknown = f", {verdicts.count('not known')} not known" if "not known" in verdicts else ""
    return f"Goals met: {verdicts.count('met')} of {len(verdicts)}{unknown}. In time is of all offered calls."


def _sentence(group: _Group) -> str:
    if not group.rows:
        return "No call to a public number is known."
    missed = [row for row in group.rows if group.verdict(row) == "missed"]
    offered = said(group.book["number.#all.offered"])
    if not missed:
        known = any(group.verdict(row) == "met" for row in group.rows)
        ending = "every public number with known times reached its goal" if known else "no times to answer are known"
        return f"People called {offered} times; {ending}."
    worst = min(missed, key=lambda row: group.book[group.key(row.name, "share")].value or 0)
    share = group.book[group.key(worst.name, "share")].value or Decimal(0)
    target = group.target(worst)
    return (
        f"People called {offered} times; {len(missed)} of {len(group.rows)} public numbers missed the goal, "
        f"worst {target.label}: {share:.1f} % answered within {target.seconds} s, goal {target.share * 100:.0f} %."
    )


def _facts(facts: AccessFacts, without: Sequence[str], *, exact: bool) -> list[tuple[str, str]]:
    lines = [("In time", "share of offered calls that were answered within the target")]
    packets = [target_of(facts, row.name).label for row in facts.numbers if row.known_from != CDR]
    if packets:
        lines.append(("From packets", f"no records of {'; '.join(packets)}: counted from signalling"))
    if without:
        lines.append(("No calls", f"nothing is known of {'; '.join(without)}"))
    if facts.sites and not exact:
        lines.append(("Small counts", "by site, counts of 1 to 4 are shown as <5, and as * what would give them away"))
    return lines


def _silent(facts: AccessFacts) -> list[str]:
    """Public numbers of the estate that no call is known of."""
    day = last_day(max(facts.months))
    known = {(row.name or "").removeprefix("+") for row in facts.numbers}
    stated = (one for one in facts.public_numbers if one.valid.holds(day) and one.number not in known)
    return [f"{one.label} {one.number}".strip() for one in stated]


def _count_hours(facts: AccessFacts, counts: Counts) -> None:
    """Add the counts by hour of the day."""
    if not facts.hours:
        return
    for hour in range(HOURS):
        offered, answered = facts.hours.get(hour, (0, 0))
        when = f"{hour:02d}:00"
        parts = [
            counts.add(key_of("hour", hour, "answered"), f"answered, {when}", answered),
            counts.add(key_of("hour", hour, "abandoned"), f"abandoned, {when}", offered - answered),
        ]
        counts.add_sum(key_of("hour", hour, "offered"), f"offered, {when}", parts)
    for measure in MEASURES:
        keys = [key_of("hour", hour, measure) for hour in range(HOURS)]
        counts.add_sum(key_of("hour", "#all", measure), f"{measure}, whole day", keys)
    counts.bind(*(key_of("hour", "#all", measure) for measure in MEASURES))


def _hours(facts: AccessFacts) -> Section:
    """Calls by hour of the day."""
    rows = [
        Row((f"{hour:02d}:00", *(Ref(key_of("hour", hour, measure)) for measure in MEASURES))) for hour in range(HOURS)
    ]
    rows.append(Row(("All", *(Ref(key_of("hour", "#all", measure)) for measure in MEASURES)), total=True))
    busiest = max(range(HOURS), key=lambda hour: facts.hours.get(hour, (0, 0))[0])
    return Section(
        "hours",
        "By hour of the day",
        f"Most calls come between {busiest:02d}:00 and {(busiest + 1) % HOURS:02d}:00; {facts.settings.timezone}, "
        "from records.",
        (Head("Hour"), Head("Answered", "calls"), Head("Abandoned", "calls"), Head("Offered", "calls")),
        tuple(rows),
        plot=Plot(Shape.BARS, columns=(3, 2)),
    )
