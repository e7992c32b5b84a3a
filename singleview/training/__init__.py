"""How networks learn: batches, losses, schedule, checkpoints, processes.

`learners` has one learner for each kind of model. It imports `data`, `augment`, `models`,
`measures` and `pictures`; `singleview.train` is the loop over it.
"""
