"""The fault night: senders, a stand-in PACS, kills and attacks around one box, and a judge.

The judge's witnesses are the journals of the senders and of the PACS; the box's ledger and spool are judged.
"""
