"""E-mail through SendGrid's v3 Mail Send API."""

# Our reference, as custom arguments. They come back at the top level of each event, among the vendor's own
# fields, one of which (of `deferred`) is called `attempt`: hence the prefix.
TARGET = "carillon_target"
ATTEMPT = "carillon_attempt"
