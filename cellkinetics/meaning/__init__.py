"""What headings, cells and units say, whatever table they stand in.

It knows nothing of files and studies; the room `data` asks it. It may import what stands at the root below it:
`errors`, `arrays`, `words`.
"""
