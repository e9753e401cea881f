"""Measurements of Wellspring on real parts, each beside its bound in the same run."""
