"""SMS through the Messages API of Vonage (formerly Nexmo)."""
