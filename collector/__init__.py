"""At the street center: incidents in, tickets out.

`inbox` reads the broker and commits to the database, exactly once; `store` holds tables and migrations; `tickets` is
the life of a ticket; `evidence` keeps pictures; `web` shows pages and the API. `commands` is the command line,
`settings` reads `center.toml`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("cityeye")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+checkout"
