"""The outbox: frozen objects to their destinations, each row kept until accepted or settled (P6)."""
