import pytest
from cloudformation import read_template


@pytest.fixture(scope="session")
def template() -> dict:
    """The template; nobody changes it."""
    return read_template()
