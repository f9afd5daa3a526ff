"""The registry's pages for people: devices, models, roll-outs, alerts, accounts and the audit trail.

Promises: they work without a script; text from outside is always escaped; every page says how old it is.
Never: show more than a role may see, or decide anything: a button asks for what the API would do.
"""
