"""One client at one provider: its settings, its file, and the calls that send a message and read the reply."""
