"""How the value of a field is obtained: planned, loaded, reconciled, ordered and cut to a page."""
