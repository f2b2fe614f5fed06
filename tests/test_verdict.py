"""A claim is judged by four rules: each failing alone keeps it from being established, and says why."""

from __future__ import annotations

from decimal import Decimal

import pytest

from analytics.cost.verdict import Margins, MinutesCheck, Outcome, Verdict, judge

D = Decimal
OVER, UNDER = (D(10), D(10)), (D(-10), D(-10))
AGREE = MinutesCheck("October 2025", D(1010), D(1000))


def judged(
    point: tuple[Decimal | None, Decimal | None] = OVER,
    low: tuple[Decimal | None, Decimal | None] = OVER,
    high: tuple[Decimal | None, Decimal | None] = OVER,
    minutes: tuple[MinutesCheck, ...] = (AGREE,),
    differences: tuple[str, ...] = (),
    unbounded: tuple[str, ...] = (),
) -> Verdict:
    return judge(D(30), Margins(point, low, high), minutes, D(2), differences, unbounded)


def failing(verdict: Verdict) -> str:
    return "".join(check.letter for check in verdict.checks if not check.holds)


def test_a_claim_that_keeps_all_rules_is_established() -> None:
    verdict = judged()
    assert (verdict.outcome, verdict.reasons) == (Outcome.ESTABLISHED, ())


@pytest.mark.parametrize(
    ("verdict", "letters", "outcome", "said"),
    [
        # (a): one method alone falls short; a saving of exactly the claim is not more than it.
        (judged(point=(D(-1), D(10))), "a", Outcome.NOT_ESTABLISHED, "Method 1 saves not more than 30 %."),
        (judged(point=(D(10), D(0))), "a", Outcome.NOT_ESTABLISHED, "Method 2 saves not more than 30 %."),
        # (b): the lower bound of one method, or a bound that is not known.
        (judged(low=(D(10), D(-1))), "b", Outcome.NOT_ESTABLISHED, "By method 2 the saving may be not more than 30 %."),
        (judged(low=(D(0), D(10))), "b", Outcome.NOT_ESTABLISHED, "By method 1 the saving may be not more than 30 %."),
        (
            judged(low=(None, None), unbounded=("Staff (elements.csv:9) is missing and no highest amount is stated",)),
            "b",
            Outcome.NOT_ESTABLISHED,
            "There is no lower bound: Staff (elements.csv:9) is missing and no highest amount is stated.",
        ),
        # (c): 2 % of 1,000 is 20: 1,020 agree, 1,021 and 979 do not; no invoice is no agreement.
        (
            judged(minutes=(MinutesCheck("October 2025", D(1021), D(1000)),)),
            "c",
            Outcome.NOT_ESTABLISHED,
            "October 2025: the records hold 1,021.0 minutes, the invoices 1,000.0: 2.1 % apart, more than 2 %.",
        ),
        (
            judged(minutes=(AGREE, MinutesCheck("November 2025", D(979), D(1000)))),
            "c",
            Outcome.NOT_ESTABLISHED,
            "November 2025: the records hold 979.0 minutes, the invoices 1,000.0: 2.1 % apart, more than 2 %.",
        ),
        (
            judged(minutes=(MinutesCheck("October 2025", D(1000), None),)),
            "c",
            Outcome.NOT_ESTABLISHED,
            "No invoice states minutes for October 2025.",
        ),
        (
            judged(minutes=(MinutesCheck("October 2025", D(5), D(0)),)),
            "c",
            Outcome.NOT_ESTABLISHED,
            "October 2025: the records hold 5.0 minutes, the invoices 0.0.",
        ),
        # (d): what stands on one side alone.
        (
            judged(differences=("The baseline pays for staff and today's elements do not: A, October 2025.",)),
            "d",
            Outcome.NOT_ESTABLISHED,
            "The baseline pays for staff and today's elements do not: A, October 2025.",
        ),
        # Refuted: not even the upper bound of either method exceeds the claim.
        (judged(UNDER, UNDER, UNDER), "ab", Outcome.REFUTED, "Method 1 saves not more than 30 %."),
        (judged(UNDER, UNDER, (D(0), D(-1))), "ab", Outcome.REFUTED, "Method 1 saves not more than 30 %."),
        # Not refuted while one method's upper bound exceeds it, or is not known.
        (judged(UNDER, UNDER, (D(-1), D(1))), "ab", Outcome.NOT_ESTABLISHED, "Method 2 saves not more than 30 %."),
        (judged(UNDER, UNDER, (D(-1), None)), "ab", Outcome.NOT_ESTABLISHED, "Method 2 saves not more than 30 %."),
        (
            judged((None, None), (None, None), (None, None)),
            "ab",
            Outcome.NOT_ESTABLISHED,
            "Method 1 gives no saving: nothing can be compared.",
        ),
    ],
)
def test_each_rule_failing_is_said_in_a_plain_sentence(
    verdict: Verdict, letters: str, outcome: Outcome, said: str
) -> None:
    assert failing(verdict) == letters
    assert verdict.outcome is outcome
    assert said in verdict.reasons


def test_minutes_at_the_tolerance_agree() -> None:
    assert judged(minutes=(MinutesCheck("October 2025", D(1020), D(1000)),)).outcome is Outcome.ESTABLISHED
    assert judged(minutes=(MinutesCheck("October 2025", D(980), D(1000)),)).outcome is Outcome.ESTABLISHED


def test_months_without_an_invoice_are_one_reason() -> None:
    bare = tuple(MinutesCheck(name, D(1), None) for name in ("July 2025", "August 2025"))
    assert judged(minutes=bare).reasons == ("No invoice states minutes for July 2025, August 2025.",)


def test_no_month_at_all_agrees_with_nothing() -> None:
    assert failing(judged(minutes=())) == "c"
