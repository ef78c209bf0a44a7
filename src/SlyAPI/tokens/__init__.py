"""One user's grant as a value, below the stores that hold it. Opens no connection."""
