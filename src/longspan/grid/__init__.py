"""What `longspan run` is made of: a grid is read and checked whole, its lines carried out one by one, each by itself.

reading: YAML -> lines · line: one command, its folder and what is there of it · running: lines -> what became of them ·
child: the process of one line · progress: how far it is · table: records -> the table at the end.
"""
