"""Engines that run a model's network, behind one interface; each serves only after its golden cases agree."""
