"""Measuring videos, for the stages `reference` and `evaluate`, `digan evaluate` and sweeps: protocols, features of real and
generated clips with their cache, metrics with their uncertainty, pictures and the page.
"""
