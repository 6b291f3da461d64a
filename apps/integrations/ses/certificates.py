"""The certificates SNS signs with: where they may be, how they are fetched, and what is checked of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from apps.integrations.contract import BadSignature

# The vendor's; "the certificate should come from an SNS-signed URL", by HTTPS:
# https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
ORIGIN = r"https://sns\.[a-z0-9-]{3,}\.amazonaws\.com(\.cn)?"
_URL = re.compile(ORIGIN + r"/[A-Za-z0-9_./-]+\.pem")
# Whom it must name. The region is in the host's name only, not in the certificate's.
_NAME = re.compile(r"sns(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?")
TIMEOUT = 5.0  # seconds, for the whole of a fetch
LARGEST = 65_536  # bytes; a certificate has some 2,000
KEPT = 16  # SNS has one for each region, and a new one each year, at a new URL


def fetch(url: str) -> bytes:
    """What is at that URL: no redirects, no proxies from the environment. Raises OSError."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    deadline = time.monotonic() + TIMEOUT
    try:
        with closing(connect(parts.netloc, timeout=TIMEOUT)) as connection:
            connection.request("GET", parts.path)
            return _read(connection.getresponse(), deadline)
    except HTTPException as error:
        raise OSError("the answer is not HTTP") from error


def _read(answer: HTTPResponse, deadline: float) -> bytes:
    if answer.status != 200:
        raise OSError(f"the certificate's answer is {answer.status}")
    content = b""
    while chunk := answer.read1(LARGEST):
        content += chunk
        if len(content) > LARGEST or time.monotonic() > deadline:
            raise OSError("the certificate is too large, or too slow")
    if answer.length or not content:  # it is not the vendor's word that there is none
        raise OSError("the certificate broke off")
    return content


class Certificates:
    """Fetched once and kept. `base` ("" for none): where else they may be; `fetch` raises OSError."""

    def __init__(self, base: str, fetch: Callable[[str], bytes]) -> None:
        self._base = base and base.rstrip("/") + "/"  # or it would be the beginning of another host's name
        self._fetch = fetch
        self._at = lru_cache(KEPT)(self._load)  # which forgets what raised

    def key(self, url: str) -> rsa.RSAPublicKey:
        """The public key of the certificate at that URL. Raises BadSignature; OSError if it is not to be had.

        Its dates and its name are checked, and not by whom it is issued: the file has no chain. That it is
        the vendor's, the HTTPS connection to the vendor's host has shown.
        """
        if not (_URL.fullmatch(url) or (self._base and url.startswith(self._base))):
            raise BadSignature("the certificate is not at the vendor's")
        certificate, key = self._at(url)
        if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
            raise BadSignature("the certificate is not valid now")
        return key

    def _load(self, url: str) -> tuple[x509.Certificate, rsa.RSAPublicKey]:
        try:
            certificate = x509.load_pem_x509_certificate(self._fetch(url))
            names, key = _names(certificate), certificate.public_key()
        except ValueError as error:
            raise BadSignature("there is no certificate at that URL") from error
        if not isinstance(key, rsa.RSAPublicKey) or not any(_NAME.fullmatch(name) for name in names):
            raise BadSignature("the certificate is not one of the vendor's for this")
        return certificate, key


def _names(certificate: x509.Certificate) -> list[str]:
    """Whom the certificate is for: its alternative names, or its common name where it has none."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        return [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
