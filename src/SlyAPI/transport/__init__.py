"""The one place a request leaves the process. Knows nothing of OAuth."""
