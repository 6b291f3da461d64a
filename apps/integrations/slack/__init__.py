"""Chat messages to Slack: by incoming webhooks, and as an app's bot."""
