"""A site's own lines and name in reports of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from cost_example import OCTOBER, example_facts, example_usage
from report_documents import savings_example

from analytics.cost.document import Document, Section
from analytics.cost.savings_document import savings_document
from api.report.one_site import NoSuchSiteError, of_site
from api.report.plots import Dumbbells, plot_of
from api.report.site_names import with_names


@pytest.fixture(scope="module")
def document(shared: Path) -> Document:
    """The savings of the worked example."""
    return savings_document(example_facts(example_usage(shared / "golden" / "cost_example")), [OCTOBER])


def section(document: Document, name: str) -> Section:
    return next(one for one in document.sections if one.name == name)


def test_one_site_is_told_first_and_the_verdict_of_all_after_it(document: Document) -> None:
    alone = of_site(document, "A")
    # 852.49 of 1,914.28 and 852.80 of 1,914.59 in the worked example.
    assert alone.sentence.startswith(
        "A saved 44.53 % (£852.49) by method 1 and 44.54 % (£852.80) by method 2. The report of all sites says: "
    )
    assert alone.sentence.endswith(document.sentence)


def test_above_the_line_of_one_site_nothing_is_said_of_all(document: Document) -> None:
    for one in of_site(document, "A").sections:
        assert one.sentence == "A alone: the report of all sites has the totals."
    facts = dict(of_site(document, "A").facts)
    assert facts["Claim"] == "of all sites: more than 30 %"
    assert facts["VAT"] == dict(document.facts)["VAT"]


def test_a_site_whose_saving_is_not_known_says_why() -> None:
    assert of_site(savings_example(), "Port Lane").sentence.startswith(
        "What Port Lane saved is not known: left out of the totals. The report of all sites says:"
    )


def test_a_site_without_a_line_is_an_error(document: Document) -> None:
    with pytest.raises(NoSuchSiteError):
        of_site(document, "Z")


def test_names_stand_beside_codes_where_each_site_has_one_line(document: Document) -> None:
    named = with_names(document, {"A": "Ashcombe Yard"})
    lines = {row.cells[0]: row.cells[1] for row in section(named, "sites").rows}
    assert lines == {"A": "Ashcombe Yard", "B": "", "All": ""}
    for name in ("waterfall", "months", "methods", "minutes"):
        assert section(named, name) == section(document, name)
    assert with_names(document, {}) == document


def test_plots_show_the_same_figures_with_names(document: Document) -> None:
    before = plot_of(section(document, "sites"), document)
    named = with_names(document, {"A": "Ashcombe Yard"})
    after = plot_of(section(named, "sites"), named)
    assert isinstance(before, Dumbbells)
    assert isinstance(after, Dumbbells)
    assert [span._replace(label="") for span in after.spans] == [span._replace(label="") for span in before.spans]
    assert [span.label for span in after.spans] == ["A Ashcombe Yard", "B"]
    assert after.names == before.names
