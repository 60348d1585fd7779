"""What Meta's Cloud API and its look-alikes share: bodies, limits, errors, webhooks, and a connection.

`cloud_api` is the first of the family. Another one brings an `Account` (base URL, paths, headers, media host) and a
way to verify its webhooks, and reuses the rest.
"""
