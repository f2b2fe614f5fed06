"""From records to usage: records -> calls joined by leg -> who, where and what class -> lines rated under both tariffs.

`records` brings copies down to one and joins the records of one call; `parties` finds sites, trunks and number classes
for the few distinct devices and numbers among millions of records; `lines` writes one line a leg; `derive` runs it
over the days that need it and puts the rated lines into the lake.
"""
