"""Chat messages to Microsoft Teams, through its Workflows."""
