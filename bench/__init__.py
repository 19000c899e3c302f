"""What arbstr costs, measured beside nginx and other gateways in the same run: `make bench`.

    machine    the cores, the CPU time and the memory of process trees
    peers      the programs the bench needs, and where it puts the gateways it compares with
    upstream   the two providers behind every gateway: one for whole answers, one for paced streams
    gateways   how each gateway is configured and started
    load       what a load run yields
    measure    one gateway, measured once: start, whole answers, paced chunks, memory
    report     medians, ratios, targets, and the tables made of them

`paced_upstream.py`, `paced_client.py` and `chat.lua` run in processes of their own. The method is described in
docs/explanation/performance.md.
"""
