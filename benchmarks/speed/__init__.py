"""How fast the graph is, beside others that give the same answers from the same upstream."""
