"""Many scenes: each is fitted in a task of a Dask cluster, and a page tells of all.

`jobs` says what is to be done and what is finished, `task` does one scene where a worker runs,
`run` hands them out, `table` and `page` show how it goes and how it went. It imports the fit;
only its command imports it.
"""
