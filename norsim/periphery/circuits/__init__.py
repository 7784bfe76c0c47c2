"""What a chip has in and around its arrays, from a read's cells to drivers and buffers, with its costs."""
