"""SlyAPI: async OAuth 2 API clients on aiohttp."""
