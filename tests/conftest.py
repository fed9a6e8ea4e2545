"""Settings for all tests."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a slow machine is not a failure
settings.load_profile("unhurried")
