import pytest

from cellkinetics import read_study


@pytest.fixture
def read(tmp_path):
    """Write a file of any kind and read it."""

    def write_and_read(content, name="table.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_study(path, progress=False, **options)

    return write_and_read
