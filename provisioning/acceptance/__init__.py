"""Acceptance: a phantom goes through the site's own PACS and back, and a report says what came of it."""
