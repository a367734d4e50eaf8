"""Pages, the API and the live feed.

Comes in: the database, read only, and a word from the inbox that something changed. Goes out: HTML (Chinese first,
English beside it), JSON under `/api`, pictures under `/evidence`, server-sent events under `/events`. No build step,
and nothing is fetched from elsewhere. `views` reads rows into what a page shows, `words` holds the texts, `app` the
routes.
"""
