"""The pages for people, their JSON twin, and the probes for monitoring.

Promises: patient data is shown to people who logged in, and each look is a row in the ledger;
a page asks no other machine for anything; text from outside is always escaped.
Never: serves a file by a name from a URL, knows a default password, writes to the spool.
"""
