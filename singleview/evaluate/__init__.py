"""Networks and baselines on shapes they have not seen, in one table.

It imports `predict`, `measures` and `training`; `report` imports it.
"""
