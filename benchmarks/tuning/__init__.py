"""What each setting trades: one curve per setting, measured against a running fastchat.

`python -m benchmarks.tuning --help`. Each module beside this one has the curves of one subject; `curve.py` is
what they have in common, `clients.py` the clients that the load generator has none of.
"""
