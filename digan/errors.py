"""The error that users can fix; every other exception is a bug and keeps its traceback."""


class UserError(ValueError):
    """One line with key, value, problem and remedy: ``clips.resolution=48: must be a power of two ...; try 64``."""
