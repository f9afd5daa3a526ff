"""The one SQL ledger: what happened to every instance, study, job, result and delivery.

Bytes are in files; messages are only bells; these rows are the truth.
A verb is a function that takes an open transaction (`Write` or `Read`) and says one thing that happened.
"""
