"""Sweeps over params.yaml: a room of its own, since it drives whole trainings (services) and draws pages (report)."""
