"""The failures that ragex reports to a person or to a client."""


class RagexError(Exception):
    """Names what failed, on what, and what can be done; its text is shown as it is."""
