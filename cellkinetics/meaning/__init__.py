"""What headings, cells and units say, whatever table they stand in.

May import: errors, arrays, words. It knows nothing of files and studies; the room `data` asks it.
"""
