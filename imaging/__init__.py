"""Reading untrusted images, writing images, and telling copies apart."""
