"""Pages, the API and the live feed.

Comes in: the database, who asks (`rights`), and a word from the inbox that something changed. Goes out: HTML (Chinese
first, English beside it), JSON under `/api`, pictures under `/evidence`, server-sent events under `/events`. No build
step, and nothing is fetched from elsewhere. `views` reads rows into what a page shows, `words` holds the texts,
`sign_in` the pages of one's own account, `app` puts the routes together, `serving` opens the line, `calls` writes the
table of who may call what.
"""
