"""Interventions that resets."""
