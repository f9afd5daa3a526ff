"""A demonstration that proves itself: a box, a stand-in PACS, a made-up study, checks of what comes back."""
