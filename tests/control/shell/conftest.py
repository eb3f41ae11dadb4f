"""The box of the configuration's tests."""

from tests.control.config.conftest import box

__all__ = ["box"]
