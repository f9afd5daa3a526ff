"""The registry's server: the signed tree, what devices report, and what people are shown."""
