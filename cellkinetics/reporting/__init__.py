"""What leaves the library: the page of a report, the folder of the command line, results kept as files.

It may import every other room.
"""
