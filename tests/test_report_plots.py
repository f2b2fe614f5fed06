"""What plots show: the data first, then drawings that hold it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_documents import HOSTILE, savings_example

from analytics.cost.document import Cell, Document, Head, Plot, Ref, Row, Section, Shape
from analytics.cost.figures import Book, Evidence
from api.report.drawing import draw, round_step, scale, short_month, tick_text
from api.report.page import as_html
from api.report.plots import Bars, Dumbbells, Heatmap, Histogram, Months, Tornado, Waterfall, plot_of, upper_bound

D = Decimal


def plotted(shape: Shape, rows: Sequence[tuple[str, Sequence[int | None]]], *, totals: Sequence[int] = ()) -> str:
    """A drawing of rows of numbers."""
    return draw_of(*document_of(shape, rows, totals=totals))


def document_of(
    shape: Shape, rows: Sequence[tuple[str, Sequence[int | None]]], *, totals: Sequence[int] = ()
) -> tuple[Section, Document]:
    book = Book()
    made = []
    for index, (name, values) in enumerate(rows):
        refs: list[Cell] = []
        for column, value in enumerate(values):
            key = f"{index}.{column}"
            if value is None:
                book.miss(key, key, "money", "not known")
            else:
                book.enter(key, key, "money", value, Evidence.MEASURED, "x")
            refs.append(Ref(key))
        made.append(Row((name, *refs), total=index in totals))
    widest = max(len(values) for _, values in rows)
    heads = (Head("Name"), *(Head(f"≤ {10 * column}", "money") for column in range(widest)))
    section = Section("s", "Title", "Sentence.", heads, tuple(made), plot=Plot(shape))
    return section, Document("savings", "t", "s", (), (section,), book, "GBP")


def draw_of(section: Section, document: Document) -> str:
    plot = plot_of(section, document)
    assert plot is not None
    return draw(plot, "p")


def test_a_waterfall_hangs_each_step_on_the_one_before() -> None:
    document = savings_example()
    plot = plot_of(document.sections[1], document)
    assert isinstance(plot, Waterfall)
    assert [(step.begin, step.end, step.level) for step in plot.steps] == [
        (D(0), D("2541.20"), True),
        (D("2541.20"), D("2309.20"), False),
        (D("2309.20"), D("1807.20"), False),
        (D("1807.20"), D("1491.20"), False),
        (D("1491.20"), D("1671.20"), False),
        (D("1671.20"), D("1971.20"), False),
        (D(0), D("1971.20"), True),
    ]
    assert plot.steps[4].shown == "+180.00"


def test_dumbbells_leave_out_what_has_no_value_and_say_so() -> None:
    document = savings_example()
    plot = plot_of(document.sections[0], document)
    assert isinstance(plot, Dumbbells)
    assert [span.label for span in plot.spans] == ["Ashcombe", "Dunmere", HOSTILE]
    assert plot.left_out == ("Port Lane",)
    assert plot.names == ("Legacy", "IP")
    assert "Not drawn, no value: Port Lane" in draw(plot, "p")


def test_a_month_without_records_is_a_gap_and_not_a_drop_to_0() -> None:
    document = savings_example()
    plot = plot_of(document.sections[2], document)
    assert isinstance(plot, Months)
    assert plot.months[6] == ("2025-07", None, None, None, None)
    drawing = draw(plot, "p")
    assert drawing.count("<polyline") == 4
    assert drawing.count("<polygon") == 2
    assert drawing.count("<circle") == 22


def test_a_tornado_has_its_widest_bar_first_and_the_claim_across() -> None:
    document = savings_example()
    plot = plot_of(document.sections[3], document)
    assert isinstance(plot, Tornado)
    assert [span.label for span in plot.spans] == ["WAN share", "Staff", "Handset rental"]
    assert [(line.label, line.shown) for line in plot.lines] == [("claim", "30.00 %"), ("result", "46.28 %")]


def test_a_histogram_knows_which_buckets_are_within_the_target() -> None:
    document = savings_example()
    plot = plot_of(document.sections[4], document)
    assert isinstance(plot, Histogram)
    assert [row[3] for row in plot.rows] == [2, None]
    assert plot.rows[1][1][-1] is None
    assert "&lt;5" in draw(plot, "p")


def test_bars_and_heatmaps_hold_every_value() -> None:
    rows = (("a", (1, None)), ("b", (3, 4)))
    bars = plot_of(*document_of(Shape.BARS, rows))
    heat = plot_of(*document_of(Shape.HEATMAP, rows))
    assert isinstance(bars, Bars)
    assert isinstance(heat, Heatmap)
    assert [row[1] for row in bars.rows] == [row[1] for row in heat.rows] == [(D(1), None), (D(3), D(4))]
    for plot in (bars, heat):
        assert draw(plot, "p").count('class="none"') == 1


VALUES = st.one_of(st.none(), st.integers(-(10**7), 10**7))
ROWS = st.lists(st.tuples(st.text(max_size=8), st.lists(VALUES, min_size=4, max_size=4)), min_size=1, max_size=6)


@given(shape=st.sampled_from(Shape), rows=ROWS)
def test_every_drawing_is_well_formed_and_stays_within_its_track(
    shape: Shape, rows: list[tuple[str, list[int | None]]]
) -> None:
    drawing = plotted(shape, rows)
    clean = re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", drawing)
    ElementTree.fromstring(f"<div>{clean}</div>")
    for percent in re.findall(r'(?:x|x1|x2|cx)="(-?[\d.]+)%"', drawing):
        assert 0 <= float(percent) <= 100


@given(st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1, max_size=5), st.booleans())
def test_a_scale_holds_its_values_with_few_round_ticks(values: list[Decimal], zero: bool) -> None:
    of = scale(values, zero=zero)
    assert of.low <= min(values)
    assert max(values) <= of.high
    assert of.low < of.high
    assert 2 <= len(of.ticks) <= 8


@pytest.mark.parametrize(
    ("least", "step"), [("0.9", "1"), ("1", "1"), ("1.1", "2"), ("3", "5"), ("70", "100"), ("0.03", "0.05")]
)
def test_steps_of_a_scale_are_1_2_or_5(least: str, step: str) -> None:
    assert round_step(D(least)) == D(step)


@pytest.mark.parametrize(
    ("value", "text"), [("1500", "1.5 k"), ("-2000000", "−2 m"), ("0", "0"), ("0.50", "0.5"), ("100", "100")]
)
def test_ticks_are_short(value: str, text: str) -> None:
    assert tick_text(D(value)) == text


def test_months_are_short_enough_for_a_telephone() -> None:
    assert short_month("2025-10") == "10/25"
    assert short_month("October") == "October"


def test_the_bound_of_a_bucket_is_read_from_its_label() -> None:
    assert [upper_bound(label) for label in ("≤ 10", "≤ 2.5 s", "> 60")] == [D(10), D("2.5"), None]


def test_each_plot_of_a_page_says_what_it_shows_and_has_its_table() -> None:
    document = savings_example()
    page = as_html(document)
    assert page.count('<figure role="img" aria-label="') == 5
    for part in page.split("<figure ")[1:]:
        assert "<table>" in part.partition("</section>")[0]
