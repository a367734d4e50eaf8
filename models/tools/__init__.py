"""What is done with model files away from the box. Comes in: the catalogue and files. Goes out: what a person reads."""
