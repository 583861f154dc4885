"""How good the estimates are: truths with every effect known, and replays of the sampling on them."""
