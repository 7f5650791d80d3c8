"""The one kind of error that is the user's to mend; everything else is a bug and keeps its traceback."""


class UserError(ValueError):
    """One clear line: place, value and remedy, such as ``train.batch_size=3: must divide by the 2 workers; try 4``."""
