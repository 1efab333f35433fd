"""Campaigns that try to lose a vector, or to have a wrong one believed: `bin/torture`, and in small `bin/test`."""
