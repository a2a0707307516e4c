"""What must not leave a log: the rules of redaction as one ordered table.

Some rules have a check beside their pattern: what makes a number a payment card's, say.
"""

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from itertools import pairwise
from typing import NamedTuple


class Secret(NamedTuple):
    """One row of the table."""

    name: str
    """What the rule is called."""
    pattern: str
    """Regular expression in what Rust's and Python's have in common; a first group is kept as it
    stands before the secret."""
    shown: str
    """What is written instead."""
    about: str
    """What it matches."""
    check: Callable[[str], bool] | None = None
    """Whether a match is one indeed; none: every match is."""


def _luhn(text: str) -> bool:
    """Whether digits are a payment card's: an issuer's first digits, and Luhn's check digit.

    >>> _luhn("4111 1111 1111 1111"), _luhn("4111 1111 1111 1112"), _luhn("1700000000000000")
    (True, False, False)
    """
    # Luhn: from the right every second digit is doubled, and the digits of what comes of that are
    # added up; the sum of all ends in 0. Issuers' numbers begin with 2 to 6.
    digits = [int(letter) for letter in text if letter.isdecimal()]
    total = sum(digits[-1::-2])
    for digit in digits[-2::-2]:
        tens, ones = divmod(2 * digit, 10)
        total += tens + ones
    is_issuer = 2 <= digits[0] <= 6
    return is_issuer and total % 10 == 0


def _iban(text: str) -> bool:
    """Whether letters and digits are an account number by ISO 13616's check digits.

    >>> _iban("GB82 WEST 1234 5698 7654 32"), _iban("GB83 WEST 1234 5698 7654 32")
    (True, False)
    """
    # Country and check digits go to the end, letters become numbers (A is 10), and the whole is 1
    # modulo 97.
    bare = "".join(text.split())
    turned = bare[4:] + bare[:4]
    numbers = [str(int(letter, 36)) for letter in turned]
    return int("".join(numbers)) % 97 == 1


def _ipv4(text: str) -> bool:
    """Whether dotted numbers begin with an address.

    A fifth number is a port, as tcpdump writes it; more numbers are an object identifier.

    >>> _ipv4("/10.0.0.3"), _ipv4(" 10.0.0.3.443"), _ipv4("10.0.19041.1"), _ipv4("1.3.6.1.4.1")
    (True, True, False, False)
    """
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    octets = numbers[:4]
    return len(numbers) <= 5 and all(number <= 255 for number in octets)


def _ipv6(text: str) -> bool:
    """Whether hexadecimal digits and colons are an address.

    Words around `::` that hold no digit are names of C++.

    >>> _ipv6(" fe80::1"), _ipv6(" Bad::Cafe"), _ipv6("1::2::3")
    (True, False, False)
    """
    # `std::vector` and `::` are made of such letters, too.
    bare = re.sub(r"^[^0-9A-Fa-f:]+", "", text)
    try:
        IPv6Address(bare)
    except AddressValueError:
        return False
    return any(letter.isdecimal() for letter in bare)


def _mixed(text: str) -> bool:
    """Whether a word looks drawn at random: capitals, small letters and digits, which change often.

    >>> _mixed("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY2b9")
    True
    >>> _mixed("DefaultDispatcherWorkerThreadPoolExecutor12")
    False
    """
    if text.count("/") > len(text) / 12:  # a path
        return False
    kinds: list[str] = []
    for letter in filter(str.isalnum, text):
        kind = "upper" if letter.isupper() else "lower"
        if letter.isdecimal():
            kind = "digit"
        kinds.append(kind)
    # In a name of several words, such as `DefaultDispatcher`, kinds change rarely.
    changes = sum(before != after for before, after in pairwise(kinds))
    has_all_kinds = len(set(kinds)) == 3
    return has_all_kinds and changes >= 0.3 * len(kinds)


def _encoded(text: str) -> bool:
    """Whether what follows a scheme's name is a credential and not a word.

    >>> _encoded("Basic QWxhZGRpbjpvcGVu")
    True
    >>> _encoded("basic authentication"), _encoded("Bearer Authentication")
    (False, False)
    """
    word = text.split(maxsplit=1)[-1]
    has_signs = not word.strip("=.").isalpha()
    in_one_case = word.islower() or word.istitle() or word.isupper()
    return has_signs or not in_one_case


_UNITS = (
    *(".service", ".socket", ".slice", ".timer", ".mount"),
    *(".target", ".scope", ".device", ".path", ".swap"),
)


def _mailbox(text: str) -> bool:
    """Whether `a@b.c` is an address; systemd's units are called so, too.

    >>> _mailbox("ann@example.org"), _mailbox("getty@tty1.service")
    (True, False)
    """
    return not text.endswith(_UNITS)


_NAMES = (
    r"pass(?:word|wd|phrase|code)s?|passwort|kennwort|mot_?de_?passe|pwd|secret|(?:api|access"
    r"|private|account|secret|master|signing|encryption)"
    r"[ _.-]?key(?:[ _-]?id)?|apikey|client[_-]?secret|token|credentials?|(?:csrf|xsrf)\w*"
    r"|shared[_-]?access[_-]?signature|signature|"
    r"(?:php|j|asp\.net_)?sess(?:ion)?_?id|session[ .-](?:id|key|token)|otp|cvv2?|cvc2?"
    r"|one[_-]time[_-]code"
)
_NAME = rf"(?i:(?:{_NAMES})|(?:\b|_)pass)(?:[_.-]?(?:hash|value|text|digest|b64|old|new)|\d)?"
# Also inside another quoted text, and cut off
_QUOTED = r"""\\+"[^"\\]*|"(?:[^"\\]|\\.)*(?:"|$)|'(?:[^'\\]|\\.|'')*(?:'|$)"""
# As words, or before a colon, they mean other things
_SHORT = r"""(?:\b|_)(?i:pw|psk|sid|auth)(?:=|\\*["'][ \t]*(?:=>|[:=])[ \t]*)"""
_SHOWN = "<(?:secret|token|cookie|key|card|phone|email|ip)>"  # what is redacted stays so
_SIGN = r"""\\*["'\]]?[ \t]*(?:=>|:=|[:=])[ \t]*"""
_FINGERED = (
    r"gh[pousr]_[0-9A-Za-z_]{20,}",
    r"github_pat_[0-9A-Za-z_]{20,}",
    r"gl(?:pat|ptt|rt|dt|soat|cbt|ft|imt|agent|oas)-[0-9A-Za-z_.-]{16,}",
    r"xox[a-z](?:\.xox[a-z])?-[0-9A-Za-z_-]{10,}",
    r"xapp-[0-9A-Za-z_-]{10,}",
    r"(?:sk|pk|rk)_(?:live|test)_[0-9A-Za-z_]{10,}",
    r"whsec_[0-9A-Za-z_+/=]{16,}",
    r"sk-(?:proj-|ant-|svcacct-|admin-|or-)?[0-9A-Za-z_-]{20,}",
    r"npm_[0-9A-Za-z_]{30,}",
    r"pypi-[0-9A-Za-z_-]{16,}",
    r"(?:AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{12,}",
    r"AIza[0-9A-Za-z_-]{30,}",
    r"ya29\.[0-9A-Za-z_.-]{16,}",
    r"GOCSPX-[0-9A-Za-z_-]{16,}",
    r"hf_[0-9A-Za-z_]{30,}",
    r"SG\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",
    r"do[opr]_v1_[0-9A-Za-z_]{40,}",
    r"shp(?:at|ca|pa|ss)_[0-9A-Za-z_]{30,}",
    r"sq0(?:atp|csp)-[0-9A-Za-z_-]{16,}",
    r"dckr_(?:pat|oat)_[0-9A-Za-z_-]{16,}",
    r"hv[sbr]\.[0-9A-Za-z_-]{16,}",
    r"NRAK-[0-9A-Za-z_]{16,}",
    r"eyJ[0-9A-Za-z_-]{5,}\.[0-9A-Za-z_-]{5,}(?:\.[0-9A-Za-z_-]*)*",
    r"[0-9]{8,10}:AA[0-9A-Za-z_-]{30,}",
    r"key-[0-9a-f]{32}",
    r"(?:AC|SK)[0-9a-f]{32}",
    r"[0-9A-Za-z_]{3}[78]Q~[0-9A-Za-z_.~-]{30,}",
)
SECRETS: tuple[Secret, ...] = (
    Secret(
        "private-key",
        (
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)"
            r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)"
        ),
        "<key>",
        "a private key, from its first line to its last or to the end of the message",
    ),
    Secret(
        "element",
        rf"(<(?:\w+:)?[\w.-]*{_NAME}[\w.-]*(?: [^<>]*)?>)[^<]+</",
        "<secret></",
        "`<password>...</password>`",
    ),
    Secret(
        "url",
        r"(\w[\w+.-]*://)[^\s/\"'<>]+@",
        "<credentials>@",
        "user and password in a URL or connection string",
    ),
    Secret(
        "slack-hook",
        r"(hooks\.slack\.com/(?:services|workflows|triggers)/)[\w/-]+",
        "<token>",
        "the address of a Slack webhook",
    ),
    Secret(
        "token",
        rf"\b(?:{'|'.join(_FINGERED)})",
        "<token>",
        "tokens and keys by their first letters: JWT, clouds, code hosts, chats, shops",
    ),
    Secret(
        "authorization",
        rf"((?i:authorization)(?:{_SIGN}|,[ \t]*))"
        rf"""(?:{_QUOTED}|(?i:digest|aws4-hmac-sha256|hawk|oauth)[ \t][^\r\n]*"""
        r"""|(?i:[a-z][\w-]*[ \t]+)?[^\s"']+)""",
        "<token>",
        "an Authorization header",
    ),
    Secret(
        "scheme",
        r"(\b)(?i:bearer|basic|negotiate|apikey) +[\w.~+/=-]{8,}",
        "<token>",
        "a bearer token or basic credentials",
        _encoded,
    ),
    Secret(
        "cookie",
        rf"""((?i:\bcookies?){_SIGN})(?:{_QUOTED}|[^\s;="']+=[^\s;"']*(?:; ?[^\s;"']+)*)""",
        "<cookie>",
        "a Cookie or Set-Cookie header",
    ),
    Secret(
        "connection",
        r"(;[ \t]*(?i:password|pwd|accountkey|sharedaccesskey)[ \t]*=[ \t]*)[^;\"']+",
        "<secret>",
        "a password in `;a=b;`",
    ),
    Secret(
        "pair",
        rf"""({_NAME}{_SIGN}|{_SHORT})(?:{_SHOWN}|{_QUOTED}|\{{[^}}]*\}}|[^\s"']+)""",
        "<secret>",
        '`password=...`, `"api_key": ...` and the like, the value with or without quotes',
    ),
    Secret(
        "parameter",
        r"([?&](?i:sig|key|code|auth|access|pin)=)[^\s\"'&]+",
        "<secret>",
        "a parameter of a URL that gives access",
    ),
    Secret(
        "option",
        (
            r"((?:^|\s)--?(?i:password|passwd|pass|pwd|token|secret|api-?key"
            r"|access-key)[ \t]+)[^\s-]\S*"
        ),
        "<secret>",
        "`--password ...`",
    ),
    Secret(
        "sql",
        r"""((?i:password|identified\s+(?:with\s+\S+\s+)?(?:by|as))\s+(?i:for\s+\S+\s+)?)"""
        r"""(?:'(?:[^']|'')*(?:'|$)|"[^"]*(?:"|$)|\$\$.*?(?:\$\$|$))""",
        "<secret>",
        "a password in SQL: `PASSWORD '...'`, `IDENTIFIED BY '...'`",
    ),
    Secret(
        "base64",
        r"[A-Za-z0-9+/]{40,}={0,2}",
        "<token>",
        "long base64 that looks drawn at random, such as a key",
        _mixed,
    ),
    Secret(
        "random",
        r"[A-Za-z0-9+_-]{32,}={0,2}",
        "<token>",
        "long words that look drawn at random, also in a path",
        _mixed,
    ),
    Secret(
        "email",
        r"[\w.%+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}",
        "<email>",
        "an e-mail address",
        _mailbox,
    ),
    Secret(
        "mac",
        (
            r"\b(?:[0-9A-Fa-f]{2}:){5,}[0-9A-Fa-f]{2}\b|\b(?:[0-9A-Fa-f]{2}-){5,}[0-9A-Fa-f]{2}\b"
            r"|\b(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}\b"
        ),
        "<mac>",
        "a MAC address or a fingerprint",
    ),
    Secret(
        "ipv6",
        r"(^|[^\w:.])(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}"
        r"(?::[0-9A-Fa-f]{1,4})*)?::(?:[0-9A-Fa-f]{1,4}:)*"
        r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]{1,4})?)",
        "<ip>",
        "an IPv6 address",
        _ipv6,
    ),
    Secret(
        "ipv4", r"(^|[^0-9A-Za-z.])[0-9]{1,3}(?:\.[0-9]+){3,}", "<ip>", "an IPv4 address", _ipv4
    ),
    Secret(
        "ip-name",
        r"(\b[A-Za-z]\w*-)[0-9]{1,3}(?:-[0-9]{1,3}){3}\b",
        "<ip>",
        "an address in a host's name (`ip-10-0-0-3`)",
    ),
    Secret(
        "iban",
        r"\b[A-Z]{2}[0-9]{2} ?(?:[A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}\b",
        "<iban>",
        "an account number",
        _iban,
    ),
    Secret(
        "card",
        (
            r"(^|[^\w.-])(?:[0-9]{13,19}|[0-9]{4}(?:[ .-][0-9]{4}){3}(?:[ .-][0-9]{1,3})?"
            r"|[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5})\b"
        ),
        "<card>",
        "a payment card's number",
        _luhn,
    ),
    Secret(
        "ssn",
        r"(^|[^\w.-])[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
        "<ssn>",
        "a number like those of US social security",
    ),
    Secret(
        "phone",
        r"(^|[^\w.+-])(?:\+[1-9][0-9]{0,2}(?:[ ./-]?\(?[0-9]{1,5}\)?){2,6}|00[1-9][0-9]{0,2}"
        r"(?:[ ./-]\(?[0-9]{2,5}\)?){2,5}|"
        r"(?:\([0-9]{3}\) ?|[0-9]{3}[ .-])[0-9]{3}[.-][0-9]{4})\b",
        "<phone>",
        "a telephone number with its country's code, or written as in North America",
        lambda text: 7 <= sum(map(str.isdecimal, text)) <= 15,
    ),
    Secret(
        "phone-field",
        r"""((?i:(?:phone|mobile|msisdn|telefon|fax)(?:[ _-]?(?:number|no|nr))?|\btel)"""
        rf"""{_SIGN}\\*["']?)[+(]?[0-9][0-9 ()./-]{{5,}}[0-9]""",
        "<phone>",
        "a telephone number beside a name that says so",
    ),
)
"""Tried one after the other, the narrow ones first."""

SECRET_FIELD = re.compile(rf"(?i)(?:^|[._-])(?:{_NAMES}|cookies?|session|authorization)$")
"""Names of fields whose whole value is a secret, whatever it looks like."""
