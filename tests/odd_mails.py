"""Mail in the shapes that tools really send and that nobody should: by name, made here, CRLF.

Each is one thing gone odd in an otherwise plain message. The judge of copies reads them all, the fuzzer starts from
them.
"""

import base64
import codecs

from tests.mails import leaf, message, multipart

PAGE = "<html><body><p>Hallo</p></body></html>\r\n"
PAGES = {
    "as it should be": PAGE,
    "no body": "<p>Hallo</p>",
    "no tag at all": "Hallo",
    "nothing": "",
    "blank lines": "\r\n\r\n",
    "capitals": "<HTML><BODY>x</BODY ></HTML>",
    "blank in the end tag": "<html><body>x</body\r\n></html>\r\n",
    "attribute in the end tag": "<html><body>x</body foo='>'></html>",
    "slash in the end tag": "<html><body>x</body/></html>",
    "end tag in a comment": "<html><body>x<!-- </body> --></body></html>",
    "end tag in a comment behind": "<html><body>x</body><!-- </body> --></html>",
    "end tag in a comment behind all": "<html><body>x</body></html><!-- </body> -->",
    "only end tag is in a comment": "<html><body>x<!-- </body> --></html>",
    "end tag in a script": "<html><body>x<script>var a='</body>';</script></body></html>",
    "end tag in a script behind": "<html><body>x</body><script>var a='</body>';</script></html>",
    "script in a script": "<html><body>x<script><!--<script></script></body>--></script></body></html>",
    "end tag in an attribute": "<html><body>x<img alt='</body>'></body></html>",
    "only end tag is in an attribute": '<html><body>x<img alt="</body>"></html>',
    "end tag for one reader only": (
        "<html><body><!--[if mso]><table><tr><td></body><![endif]-->x<!--[if mso]></td></tr></table><![endif]-->"
        "</body></html>"
    ),
    "body for one reader, body for all others": (
        "<!--[if mso]><body class=mso><![endif]--><!--[if !mso]><!--><body><!--<![endif]-->x"
        "<!--[if mso]></body><![endif]--></html>"
    ),
    "body for one reader only": (
        "<html><!--[if mso]><body class=mso><![endif]-->x<p>y</p><!--[if mso]></body><![endif]--></html>"
    ),
    "revealed comment": "<html><body>x<![if !mso]><p>y</p><![endif]></body></html>",
    "open comment": "<html><body>x<p>y</p><!-- never closed </body></html>",
    "open comment behind the body": "<html><body>x<p>y</p></body><!-- never closed </html>",
    "comment that ends at once": "<html><body>x<!--> </body> --></html>",
    "comment with a bang": "<html><body>x<!-- a --!> y</body></html>",
    "cdata in html": "<html><body>x<![CDATA[ </body> ]]>y</body></html>",
    "cdata in a drawing": "<html><body>x<svg><![CDATA[ </body> ]]></svg>y</body></html>",
    "comment in cdata": "<html><body>x<math><![CDATA[<!--]]></math></body></html>",
    "comment in a drawing's description": "<html><body>x<svg><desc><![CDATA[ > <!-- ]]></desc></svg>y</body></html>",
    "open comment in a drawing's style": "<html><body>x<svg><style><!-- </style></svg></body></html>",
    "title of a drawing": "<html><body>x<svg><title></body></title><text>a</text></svg></body></html>",
    "open drawing": "<html><body>x<svg><g></body></html>",
    "end tag in a style": "<html><head><style>p{content:'</body>'}</style></head><body>x</body></html>",
    "open style": "<html><body>x<style>a{}</body></html>",
    "end tag in the title": "<html><head><title></body></title></head><body>x</body></html>",
    "end tag in a text area": "<html><body>x<textarea></body></html></textarea></body></html>",
    "open text area": "<html><body>x<textarea>abc</body></html>",
    "open choice": "<html><body>x<select><option>a</option></body></html>",
    "open template": "<html><body>x<template><p>a</p></body></html>",
    "noscript": "<html><body>x<noscript><p>a</p></body></noscript></html>",
    "open table": "<html><body><table><tr><td>x</body></html>",
    "table and no more": "<table><tr><td>x</td></tr><tr>",
    "hidden first line": "<html><body><div style='display:none'>pre</div>x</body></html>",
    "hidden and open": "<html><body>y<div style='display: none'>pre</body></html>",
    "hidden attribute and open": "<html><body>y<span hidden>pre</body></html>",
    "hidden paragraph without end": "<html><body><p style='display:none'>pre<p>x</body></html>",
    "open link": "<html><body><a href='http://x.example/'>x</body></html>",
    "open object": "<html><body>x<object data=x></body></html>",
    "right to left": "<html dir=rtl lang=he><body>שלום</body></html>",
    "two pages": "<html><body>x</body></html>\r\n<html><body>y</body></html>\r\n",
    "picture behind the page": "<html><body>x</body></html><img src=x.gif>",
    "plaintext": "<html><body>x<plaintext></body></html>",
    "open quotation mark": '<html><body>x<a href="http://x>c</a></body></html>',
    "signs": "<html><body>a < b and </ c</body></html>",
    "xhtml": "<?xml version='1.0'?><!DOCTYPE html><html><body>x</body></html>",
    "byte order mark": "\ufeff<html><body>x</body></html>",
    "one long line": "<html><body>" + "woord " * 3000 + "</body></html>",
}  # fmt: skip
WORDS = {
    "iso-2022-jp": "こんにちは世界", "koi8-r": "Привет мир", "windows-1252": "Été – €", "windows-1251": "Привет",
    "windows-1255": "שלום", "gb18030": "你好世界", "gb2312": "你好", "shift_jis": "表示ソ能", "euc-kr": "안녕",
    "big5": "許功蓋", "utf-16": "Hallo é", "utf-16le": "Hallo", "utf-16be": "Hallo", "utf-7": "Hallo é", "hz": "你好",
    "iso-8859-8-i": "שלום", "us-ascii": "abc", "utf-8": "é", "iso-2022-kr": "안녕", "cp437": "é", "cp037": "abc",
    "tis-620": "สวัสดี",
}  # fmt: skip
_HEAD = (
    b"From: Acme <news@acme.example>\r\nTo: anna@example.org\r\nSubject: Wijn\r\n"
    b"Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n"
)
_TEXT = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
_LETTER = b"Hallo wereld, dit is een tekst. \r\n" * 8


def odd_mails() -> dict[str, bytes]:
    """All of them."""
    return {**_pages(), **_charsets(), **_encodings(), **_flowed(), **_trees(), **_headers()}


def _pages() -> dict[str, bytes]:
    found = {}
    for name, page in PAGES.items():
        for cte in ("8bit", "quoted-printable", "base64"):
            found[f"page, {name}, {cte}"] = message(leaf(page, "text/html", cte=cte))
    return found


def _charsets() -> dict[str, bytes]:
    found = {}
    for charset, words in WORDS.items():
        python = charset.removesuffix("-i")
        for kind, text in (
            ("text/plain", f"{words}\r\n{words}"),
            ("text/html", f"<html><head><meta charset={charset}></head><body>{words}</body></html>"),
        ):
            data = text.encode(python)
            for cte in ("8bit", "quoted-printable", "base64"):
                if cte == "8bit" and (b"\0" in data or data.count(b"\n") != data.count(b"\r\n") or charset == "cp037"):
                    continue
                found[f"{charset}, {kind}, {cte}"] = message(leaf(data, kind, cte=cte, charset=charset))
    for charset in ("utf-16", "utf-16le", "utf-32", "utf-7", "us-ascii", "iso-2022-jp", "gb18030", "x-unknown", "idna"):
        for octets in ("Grüße é\r\n".encode(), b"Hello!\r\n"):
            name = f"said to be {charset}, {'ascii' if octets.isascii() else 'utf-8'}"
            found[name] = message(leaf(octets, cte="8bit", charset=charset))
            page = b"<html><body>%s</body></html>" % octets
            found[f"{name}, page"] = message(leaf(page, "text/html", cte="base64", charset=charset))
    for charset in ("us-ascii", "iso-2022-jp", "shift_jis", "utf-8"):
        found[f"said to be {charset}, latin"] = message(
            leaf("Grüße\r\n".encode("latin-1"), cte="8bit", charset=charset)
        )
    return found


def _encodings() -> dict[str, bytes]:
    found = {}
    for cte in ("QUOTED-PRINTABLE", "7BIT", " 8BIT ", "binary", "7bit (c)", "quoted-printable (x)", "Binary;", "utf-8"):
        found[f"encoded as {cte}"] = _with(_TEXT + f"Content-Transfer-Encoding:{cte}\r\n".encode(), b"Hallo wereld\r\n")
    text = base64.b64encode(_LETTER)
    lines = [text[i : i + 76] for i in range(0, len(text), 76)]
    for name, body in {
        "capitals": b"\r\n".join(lines) + b"\r\n",
        "odd lines": b"\r\n".join(text[i : i + 61] for i in range(0, len(text), 61)),
        "no padding": base64.b64encode(_LETTER + b"x").rstrip(b"=") + b"\r\n",
        "one line": text,
        "no last line end": b"\r\n".join(lines),
        "blank lines behind": b"\r\n".join(lines) + b"\r\n\r\n\r\n",
        "blank line before": b"\r\n" + b"\r\n".join(lines),
        "indented": b"\r\n".join(b"  " + line + b" " for line in lines),
        "foreign signs": b"\r\n".join(line + b"!" for line in lines),
        "two in one": base64.b64encode(b"Hallo") + b"\r\n" + base64.b64encode(b" wereld") + b"\r\n",
        "nothing": b"",
        "one digit": b"Q",
        "text of a list behind": b"\r\n".join(lines) + b"\r\n-- \r\nsent by a list\r\n",
    }.items():
        part = _TEXT + b"Content-Transfer-Encoding: BASE64\r\n"
        found[f"base64, {name}"] = _with(part, body)
        found[f"base64 in mixed, {name}"] = message(multipart("mixed", part + b"\r\n" + body))
    for name, body in {
        "soft end": b"Hallo =\r\n",
        "soft end without line end": b"Hallo =\r\nwereld=",
        "small letters": b"caf=c3=a9\r\n",
        "no escapes": b"1=2 a=zz\r\n",
        "blanks at line ends": b"Hallo  \r\nx \r\n",
        "soft break before the signature": b"Hallo=\r\n\r\n-- \r\nsig\r\n",
        "signature with its blank written out": b"Hallo\r\n--=20\r\nsig\r\n",
        "blank behind a soft break": b"Hallo = \r\nwereld\r\n",
        "written out line ends": b"Hallo=0D=0Awereld=0D=0A",
        "written out bare line feeds": b"Hallo=0Awereld=0A",
        "long line": b"x" * 2000,
    }.items():
        part = _TEXT + b"Content-Transfer-Encoding: quoted-printable\r\n"
        found[f"qp, {name}"] = _with(part, body)
        found[f"qp in mixed, {name}"] = message(multipart("mixed", part + b"\r\n" + body))
        page = part.replace(b"plain", b"html")
        found[f"qp, {name}, end tag over two lines"] = _with(page, b"<html><body>" + body + b"</bo=\r\ndy></html>")
        found[f"qp, {name}, end tag written out"] = _with(page, b"<html><body>" + body + b"=3C/body=3E</html>=\r\n")
    return found


def _flowed() -> dict[str, bytes]:
    found = {}
    for form in ("flowed", "flowed; delsp=yes", '"flowed"', "fixed"):
        for name, body in {
            "plain": b"Hallo \r\nwereld\r\n", "signature": b"Hallo \r\nwereld\r\n\r\n-- \r\nsig\r\n",
            "flows to its end": b"Hallo \r\n", "flows without line end": b"Hallo ", "quotation last": b"x\r\n> a ",
        }.items():  # fmt: skip
            head = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8; format=%s\r\n" % form.encode()
            found[f"format={form}, {name}"] = _with(head, body)
    return found


def _trees() -> dict[str, bytes]:
    text, page = leaf("Hallo\r\n"), leaf(PAGE, "text/html")
    pdf = (
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n"
        b" filename*0*=utf-8''%e2%82%ac;\r\n filename*1=x.pdf\r\n\r\nJVBERi0=\r\n"
    )
    inner = multipart("alternative", text, page, boundary="b1")
    unfinished = inner.removesuffix(b"--b1--\r\n")
    root = leaf(PAGE, "text/html", more="Content-ID: <root@x>\r\n")
    around = multipart("mixed", inner, pdf, boundary="q")
    blank = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n"
    return {f"tree, {name}": message(tree) for name, tree in {
        "alternative": inner,
        "alternative, page first": multipart("alternative", page, text),
        "no last delimiter": unfinished,
        "inner without last delimiter": multipart("mixed", unfinished, pdf, boundary="q"),
        "boundary begins the inner one's": multipart("mixed", inner, pdf, boundary="b"),
        "inner boundary begins the outer one's": multipart("mixed", inner, pdf, boundary="b1x"),
        "the same boundary twice": multipart("mixed", inner, pdf, boundary="b1"),
        "preamble and epilogue": (
            around.replace(b"\r\n\r\n--q", b"\r\n\r\nThis is MIME\r\n\r\n--q", 1) + b"\r\n--b1\r\nx --q"
        ),
        "alternative in related": multipart("related", inner, pdf, boundary="q"),
        "related with a root that is not first": multipart('related; start="<root@x>"', pdf, root, boundary="q"),
        "three deep": multipart("mixed", multipart("related", inner, pdf, boundary="r"), pdf, text, boundary="q"),
        "one part": multipart("mixed", text),
        "unknown kind": multipart("x-foo", text, page),
        "page between attachments": multipart(
            "alternative", text, multipart("mixed", page, pdf, page, boundary="r"), boundary="q"),
        "empty text without its own line end": multipart("alternative", blank % b"7bit", page),
        "empty text in base64": multipart("alternative", blank % b"base64", page),
        "empty text before the page": multipart("mixed", blank % b"7bit" + b"\r\n", page),
        "amp": multipart("alternative", text, leaf("<html amp4email><body>x</body></html>", "text/x-amp-html"), page),
        "text of an unknown encoding": multipart("alternative", leaf("x", cte="x-uuencode"), page),
        "page as attachment": multipart(
            "mixed", text, leaf(PAGE, "text/html", more="Content-Disposition: attachment\r\n")),
        "attachment of one line": multipart("mixed", text, leaf("y" * 3000, "application/octet-stream")),
        "8 bits in a part's header": multipart(
            "mixed", text, pdf.replace(b"*0*=utf-8''%e2%82%ac", b"=\xc3\xa9;\r\n x=1")),
        "forwarded": multipart("mixed", text, b"Content-Type: message/rfc822\r\n\r\n" + message(page)),
    }.items()}  # fmt: skip


def _headers() -> dict[str, bytes]:
    found = {}
    for name, head in {
        "type twice": _TEXT + b"Content-Type: text/html\r\n",
        "no MIME": b"",
        "type without version": b"Content-Type: text/plain; charset=iso-8859-1\r\n",
        "8 bits": _TEXT + b"X-Name: \xe9\xe9\r\nX-U: \xc3\xa9\r\n",
        "encoded words": _TEXT + b"X-S: =?utf-8?Q?=C3=A9?=\r\n =?utf-8?B?w6k=?=\r\n",
        "type folded": b'Content-Type:\r\n text/plain;\r\n\tcharset="us-\r\n ascii"\r\n',
        "type empty": b"Content-Type: \r\n",
        "type of one word": b"Content-Type: text\r\n",
        "type without semicolon": b"Content-Type: text/plain charset=utf-8\r\n",
        "type with semicolons": b"Content-Type: text/plain;; charset=us-ascii; ;\r\n",
        "type with comments": b"Content-Type: text/plain (c;charset=x) ; charset=us-ascii (d)\r\n",
        "charset by RFC 2231": b"Content-Type: text/plain; charset*=us-ascii'en'us-ascii\r\n",
        "charset twice": b"Content-Type: text/plain; charset=us-ascii; charset=utf-8\r\n",
        "type in capitals": b"CONTENT-TYPE: TEXT/PLAIN; CHARSET=US-ASCII\r\n",
        "all twice": _TEXT + _TEXT,
        "list fields": _TEXT
        + b"List-Unsubscribe: <https://t.example/u>\r\nList-Id: <x.y>\r\nFeedback-ID: a:b:c:dddddd\r\n",
        "empty fields": _TEXT + b"X-Empty:\r\nX-Blank: \r\n",
        "stale fields": _TEXT + b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\nContent-Length: 14\r\nLines: 1\r\n",
        "many recipients": _TEXT + b"Cc: c@d.example, e@f.example\r\nBcc: g@h.example\r\n",
    }.items():
        found[f"header, {name}"] = _with(head, b"Hallo wereld\r\n")
        found[f"header, {name}, 8 bits in the body"] = _with(head, "Hällo\r\n".encode("latin-1"))
    found["header only"] = _HEAD
    found["header and empty line"] = _HEAD + b"\r\n"
    found["byte order mark in text"] = message(leaf(codecs.BOM_UTF8 + b"Hallo\r\n", cte="8bit"))
    return found


def _with(fields: bytes, body: bytes) -> bytes:
    return _HEAD + fields + b"\r\n" + body
