"""The HTTP side of the function: requests, routes, and what they answer with. Only here are there status codes."""
