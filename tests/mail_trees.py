"""Strategies of hypothesis for mail: leaves in every charset and encoding, trees of parts."""

from hypothesis import strategies as st

from tests.mails import leaf, message, multipart

WORDS = st.sampled_from(
    ["wijn", "été", "Привет", "日本", "-- ", "=", "==", ".", "", " ", "x" * 90, "</body>", "<body>", "<!--", "-->",
     "--b1", "--b1--", "{{unsubscribe_url}}", "%%unsubscribe_url%%", "https://tool.example/u", "From x", "é" * 60, "\t"]
)  # fmt: skip
TEXTS = st.lists(st.lists(WORDS, max_size=4).map(" ".join), max_size=8).map("\r\n".join)
CHARSETS = st.sampled_from(["utf-8", "us-ascii", "iso-8859-1", "koi8-r", "iso-2022-jp", "shift_jis", "utf-16", "x-no"])
TOOL = "List-Unsubscribe: <https://tool.example/u>\r\n"


@st.composite
def text_leaves(draw: st.DrawFn, kinds: tuple[str, ...] = ("text/plain", "text/html")) -> bytes:
    charset = draw(CHARSETS)
    data = draw(TEXTS).encode("ascii" if charset == "x-no" else charset, "ignore")
    cte = draw(st.sampled_from(["7bit", "8bit", "quoted-printable", "base64"]))
    if charset == "utf-16" or (cte == "7bit" and not data.isascii()):
        cte = "base64"
    more = draw(st.sampled_from(["", "", "", "Content-Disposition: attachment\r\n", "Content-MD5: x\r\n"]))
    return leaf(data, draw(st.sampled_from(kinds)), cte=cte, charset=charset, more=more)


def others() -> st.SearchStrategy[bytes]:
    return st.sampled_from([
        leaf(b"\x89PNG\0\r\n" * 20, "image/png", cte="base64", charset=None),
        leaf("a;b\r\n", "text/csv", more="Content-Disposition: attachment\r\n"),
        b"Content-Type: message/rfc822\r\n\r\n" + message(leaf("{{unsubscribe_url}} </body>", "text/html")),
        leaf("<x>", "text/x-amp-html"),
    ])  # fmt: skip


def trees() -> st.SearchStrategy[bytes]:
    """Parts inside parts; every multipart has a boundary of its own, some of which begin alike."""
    counter = iter(range(10**9))

    def around(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        return st.builds(
            lambda kind, parts: multipart(kind, *parts, boundary=f"=_{'x' * (next(counter) % 7)}{next(counter)}"),
            st.sampled_from(["mixed", "alternative", "related", "signed", "report"]),
            st.lists(inner, min_size=1, max_size=4),
        )

    return st.recursive(st.one_of(text_leaves(), text_leaves(), others()), around, max_leaves=8)
