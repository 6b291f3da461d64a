"""E-mail through the services that the library `anymail` speaks to, each by its own HTTP API."""

# Our reference, as metadata. Postmark's names have 20 characters at most:
# https://postmarkapp.com/support/article/1125-custom-metadata-faq
TARGET = "carillon_target"
ATTEMPT = "carillon_attempt"
