"""Opens the consent page in a browser, and receives its redirect on a loopback listener."""
