"""The machine under a box: who may connect to it and whom it calls, for its firewall and its units."""
