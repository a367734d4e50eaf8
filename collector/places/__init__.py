"""Shops, permits, unit-grid cells, and where cameras are: what the center knows of its street.

Comes in: single changes and whole files (CSV, XLSX, GeoJSON), each with its author. Goes out: for a ticket, its shop
and whom to tell (`standing`), the permit that covers it and until when (`permits.covering`), its cell (`grid.cell_at`)
and its camera (`cameras`).

`fields` reads one text, `columns` a row of them, `sheets` a file; `register` takes changes, one or thousands, all or
none of them; `history` keeps every revision. Coordinates are WGS84 (`coordinates`); event codes are data (`codes`).
"""
