"""Detectors: what is known of them (`catalogue`), and what is done with them away from the box (`tools`)."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in `agent`
