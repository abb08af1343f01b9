"What holds for all tests: what is remembered about files goes to a folder of its own, not to the user's cache."
import os

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)   # every run tries the same inputs
settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    os.environ["RBDM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
