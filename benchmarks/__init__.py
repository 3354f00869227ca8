"""Measurements: the factory beside a floor program and beside other systems, on the same servers in one run."""
