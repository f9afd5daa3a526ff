"""The only durable writer of the box, and the watch over free space."""
