"""Work that takes long: chunks of it, kept on disk as they are finished, and shared among processes.

It knows nothing of models and studies. It may import `domains`, `codec` and what stands below them.
"""
