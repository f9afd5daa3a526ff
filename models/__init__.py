"""What a model is: data, not code. The network itself runs behind a function that the caller gives."""
