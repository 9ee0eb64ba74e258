"""Model families that ship with the product."""
