"""Indicators: numbers that a street's leaders can trust, each defined once (`definitions`).

Comes in: what each ticket's history comes to, which the desk keeps on its row (`tickets.facts`), and what boxes counted
(`footfall`). A day's tickets are packed into one value (`packs`), so that a month of a million tickets is read at once.
Goes out: figures of a period, as a whole and by street, grid, shop, camera, category, hour or day (`figures`); reports
as PDF and workbook (`report`), which the `clerk` keeps in a folder at the end of each day and month.

It is a room of its own, not a part of `tickets`: it only reads them, and the desk must not wait for it.
"""
