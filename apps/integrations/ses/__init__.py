"""E-mail through Amazon SES's API v2, and what SES reports by way of SNS."""

# Our reference, as message tags; it comes back with the events of a configuration set. Names and values may
# have ASCII letters, digits, "_" and "-": https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html
TARGET = "carillon_target"
ATTEMPT = "carillon_attempt"
# The same as headers of the mail: the feedback notifications of an identity carry no tags.
TARGET_HEADER = "X-Carillon-Target"
ATTEMPT_HEADER = "X-Carillon-Attempt"
