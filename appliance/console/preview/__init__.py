"""The preview: a result's images, slice by slice, and what was drawn on them in the objects that were sent.

Promises: what lies over the images is read from the frozen objects, never worked out anew;
pixels are decompressed in the decoder's own process; memory and decoding at once are bounded.
Never: writes to the spool, shows an image whose bytes are not those that were kept.
"""
