"""`variegate review`: a page of this machine on which a person accepts and rejects images."""
