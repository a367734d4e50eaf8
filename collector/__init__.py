"""At the street center: incidents in, tickets out.

`inbox` reads the broker and commits to the database, exactly once; `store` holds tables and migrations; `tickets` is
the life of a ticket, `notices` tells people, `places` knows shops, permits and the grid (`office` hands both to the
desk of tickets); `people` is who may do what, with the audit log; `boxes` is the fleet; `evidence` keeps pictures;
`web` shows pages and the API; `simulation` plays boxes. `start` is the command line, `settings` reads `center.toml`.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("cityeye")
except PackageNotFoundError:  # run from a checkout that is not installed
    VERSION = "0+checkout"
