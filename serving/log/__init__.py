"""The prediction log: every prediction as a row of a Parquet dataset that others can read.

Rows are appended to Arrow streams on the local disk, which lose at most the last second when their
writer is killed, and are rolled into Parquet files. A reader sees both as one table.
"""
