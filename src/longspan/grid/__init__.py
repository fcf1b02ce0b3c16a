"""Reads, checks and runs grids for `longspan run`; each job runs in its own process.

read: reads and checks the YAML file · job: one command with its folder and state · run: runs jobs · child: the process
of a job · progress: shows its progress bar · table: the table of scores at the end.
"""
