"""What can be wrong with a detector."""


class DetectorError(Exception):
    """A detector that cannot be used; one line that says what was expected, what came and what to do."""


class DetectorMissingError(DetectorError):
    """A detector that is named and not at hand; the box can do without."""
