"""What can be wrong with a camera, a clip or a film."""


class CameraError(Exception):
    """A source that cannot be read; one line that says what was expected, what came and what to do. Holds no secret."""


class FilmError(Exception):
    """A video that cannot be written; one line that says what was expected, what came and what to do."""
