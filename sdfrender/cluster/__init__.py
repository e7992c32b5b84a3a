"""Work that is shared out over processes and machines.

`ranks` are the processes of a job that `torchrun` started. The rest is work in pieces, by Dask
(extra `cluster`): `settings` are the options that commands have for it, `connect` starts workers or
finds those that run, `work` hands out tasks and yields what became of each. What a task is, it does
not know. Commands of all programs import it.
"""
