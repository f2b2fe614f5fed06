"""Costs: what did each site cost, and for what?"""

from dashboards.reports import report_page

PAGE = report_page("/costs", "Costs", "costs", months=1, place=65)
