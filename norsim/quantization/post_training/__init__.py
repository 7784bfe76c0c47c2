"""After a network is quantized without training: what its layers see, and corrections from the float network."""
