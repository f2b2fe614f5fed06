"""Public access: can people reach us?"""

from dashboards.reports import report_page

PAGE = report_page("/access", "Public access", "access", months=1, place=70)
