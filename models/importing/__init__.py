"""Making a package out of a network that came from elsewhere: a bare ONNX file, or a MONAI bundle.

Promises: what the file itself says is read from it; what it cannot say is asked for, all of it at once; what
the package format cannot express is named and never left out in silence.
Never: runs the network, or any code that lies beside it.
"""
