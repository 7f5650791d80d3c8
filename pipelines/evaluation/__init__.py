"""Measuring videos: protocols, features of real and generated clips, their cache and their spread, shared by the stages
`reference` and `evaluate`, by `digan evaluate` and by sweeps.
"""
