"""ragex: an MCP server for code search, by regular expression and by meaning.

The trunk: files under a root → chunks → vectors → nearest chunks; a client
asks for them through two tools over the Model Context Protocol.
"""

__version__ = "0.1.0"
