"""Example settings, installed as `cityeye_config`; files in /etc/cityeye override them."""
