"""Push notifications through Firebase Cloud Messaging's HTTP v1 API."""

# Our reference, among the data an app gets.
TARGET = "carillon_target"
ATTEMPT = "carillon_attempt"
