"""The browser that shows a consent page, and the loopback listener that receives its redirect."""
