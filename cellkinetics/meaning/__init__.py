"""What headings, cells and units say, whatever table they stand in.

It knows nothing of files and studies: the room `data` asks it. It may import `errors`, `arrays` and `words` alone.
"""
