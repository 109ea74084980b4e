"""Interventions that projections."""
