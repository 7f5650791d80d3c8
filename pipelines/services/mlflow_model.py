"""Loader module of versions registered before the packages were split; kept until models carry their own code."""

from pipelines.registry.pyfunc_model import _load_pyfunc as _load_pyfunc
