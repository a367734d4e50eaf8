"""Detectors: what is known of them (`catalogue`), and what is done with them away from the box (`tools`)."""
