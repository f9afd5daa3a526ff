"""The registry's database: accounts, sessions, audit, slots, devices, what they reported, alerts."""
