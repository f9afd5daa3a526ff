"""The command line: `readside`. Exit 0 means done, 1 failed, 2 bad usage or configuration."""
