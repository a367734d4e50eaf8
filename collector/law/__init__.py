"""Rights by construction: which article is honoured by what, and the papers that follow from the settings.

Comes in: `config/law.toml` (articles, what honours them, the tests that prove it), the settings and the registers. Goes
out: pages for the docs (`python -m collector.law.articles docs/rights`), the sign, the filing and the impact assessment
(`cityeye-collector papers …`, page `/papers`). What is missing for one of them stands in it.
"""
