"""What can be wrong with a camera or a clip."""


class CameraError(Exception):
    """A source that cannot be read; one line that says what was expected, what came and what to do. Holds no secret."""
