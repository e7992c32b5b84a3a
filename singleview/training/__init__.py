"""How networks learn: batches, losses, schedule, checkpoints, processes.

`learners` has one learner for each kind of model; `singleview.train` is the loop over it. It
imports `data`, `augment`, `models`, `measures`, `pictures`, and `singleview.run_folder`; `predict`,
`evaluate` and `report` import it, to load networks and to show them what they were shown.
"""
