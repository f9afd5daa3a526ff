"""Who a box is to its registry: claimed, enrolled, renewed, replaced, backed up and let go."""
