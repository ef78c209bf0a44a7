"""What a request carries: its parameters, signed tokens, and documents that it names elsewhere."""
