"""What a chip has around its arrays, from drivers to buffers, with its costs."""
