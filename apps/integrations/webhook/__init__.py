"""Webhooks, as https://www.standardwebhooks.com has them."""
