"""Who a client is: how it authenticates, what it may, how it registers."""
