"""The refresh of one user: state, flight, failures, and where new tokens come from."""
