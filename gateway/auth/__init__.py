"""Who calls the gateway, what they may do, and what is theirs."""
