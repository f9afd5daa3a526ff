"""The registry: releases signed on the publisher's machine, assignments signed on the server, one layout."""
