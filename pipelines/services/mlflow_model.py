"""Versions registered before the packages were split name this module as their loader; it goes when models carry their code."""

from pipelines.registry.pyfunc_model import _load_pyfunc as _load_pyfunc
