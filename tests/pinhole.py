"""A camera without lens errors over a flat street, by its own formulas: what planes and areas are checked with.

The street: x to the right, y away from the camera, z up, metres; the camera stands above (0, 0).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pinhole:
    """focal: in widths of the picture; aspect: width through height."""

    height_m: float
    pitch_deg: float
    roll_deg: float = 0.0
    focal: float = 0.9
    aspect: float = 16 / 9

    @property
    def axes(self):
        """Right, down and forward of the camera, shape (3, 3)."""
        pitch, roll = np.radians(self.pitch_deg), np.radians(self.roll_deg)
        right, down = np.array([1.0, 0, 0]), np.array([0, -np.sin(pitch), -np.cos(pitch)])
        forward = np.array([0, np.cos(pitch), -np.sin(pitch)])
        return np.stack(
            [np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right, forward]
        )

    def see(self, street):
        """Picture coordinates of street points, shape (n, 3) to (n, 2); NaN behind the camera."""
        across, down, ahead = self.axes @ (np.asarray(street, float) - (0, 0, self.height_m)).T
        ahead = np.where(ahead > 0.05, ahead, np.nan)
        return np.column_stack([0.5 + self.focal * across / ahead, 0.5 + self.focal * self.aspect * down / ahead])

    def ground_at(self, x, y):
        """The street point at a picture point, shape (2,); None at and above the horizon."""
        ray = np.array([(x - 0.5) / self.focal, (y - 0.5) / (self.focal * self.aspect), 1.0]) @ self.axes
        return None if ray[2] >= 0 else ray[:2] * self.height_m / -ray[2]
