"""What can be wrong with a camera, a clip or a film."""


class CameraError(Exception):
    """A source that cannot be read; one line that says what was expected, what came and what to do. Holds no secret.

    Args:
        text: the line.
        code: why, for programs; empty where there is no name for it.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class FilmError(Exception):
    """A video that cannot be written; one line that says what was expected, what came and what to do."""
