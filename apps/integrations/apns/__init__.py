"""Push notifications through Apple's push notification service."""

# Our reference, beside `aps` in the payload an app gets.
TARGET = "carillon_target"
ATTEMPT = "carillon_attempt"
