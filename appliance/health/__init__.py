"""How the box is: numbers about it, what they say is wrong, and the few of them that may leave the site."""
