"""`readside doctor`: looks at a whole installation, names what is wrong with it, and says who mends what."""
