"""Sweeps over params.yaml with Ray Tune: search space, objective, trials, state and page."""
