"""Savings: did we save what was claimed, and can it be proved?"""

from dashboards.reports import report_page

PAGE = report_page("/savings", "Savings", "savings", months=12, place=60)
