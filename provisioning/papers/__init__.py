"""The papers that a hospital asks for, made from the configuration and the code, never written by hand."""
