"""Where a footer goes in HTML, and which links it has, judged by html5lib."""

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mail import html_place, html_spans, opt_out

PIECES = [
    b"<p>text</p>", b"</body>", b"</BODY >", b"</html>", b"<body>", b"<html lang=nl>", b"<!-- </body> -->", b"\r\n",
    b"<!--[if mso]></body><![endif]-->", b'<a title="</body>" href="https://x.example/1">x</a>',
    b"<i title='</body>'>i</i>", b'<b title=""',
    b"<script>'</body>'</script>", b"<style>/* </body> */ a > b {}</style>", b"<textarea></body></textarea>",
    b"<title></body></title>", b"text </ body>", b"1 < 2", b"<!--", b"-->", b'<b title="', b'"', b"<p don't>", b"<br/>",
    b"<!-->", b"<!--->", b"<![if !mso]>", b"<?pi </body> ?>", b"<xmp></body></xmp>", b"<u x = '1'/>", b"<i =y>",
    b"<select><option>1</select>", b"<script>", b"<style>", b"</style>", b"</script>", b"<table><tr><td>", b"</table>",
    b"<STYLE></body></Style>", b"<!DOCTYPE html>", b"<b a=\"1\"b='2'c>", b"<iframe></body></iframe>", b"<strong>",
    b"<img alt=\">\" src=x>", b"<span style=color:red>", b"&lt;/body&gt;", b"'",
]  # fmt: skip
FOOTER = b'<div id="ours">footer</div>'


def shown(document: bytes) -> bool:
    """Whether html5lib finds our footer as an element of the page, outside of what is not rendered."""
    tree = html5lib.parse(document, namespaceHTMLElements=False, transport_encoding="utf-8")
    parents = {child: parent for parent in tree.iter() for child in parent}
    for element in tree.iter():
        if element.get("id") == "ours" and "".join(element.itertext()) == "footer":
            above = element
            while above in parents:
                above = parents[above]
                if above.tag in ("head", "template", "noframes", "select"):
                    return False
            return True
    return False


@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
@settings(max_examples=600, deadline=None)
def test_a_footer_is_shown_whatever_the_document(document: bytes) -> None:
    """Whatever the document, what is put in at the footer's place is rendered."""
    at = html_place.footer_position(document)
    assert shown(document[:at] + FOOTER + document[at:])


@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_looking_close_and_looking_quickly_agree(document: bytes) -> None:
    """The short cut for documents that end as usual gives the place that reading every tag gives, as for `x`."""
    document += b"</body></html>"
    assert html_place.footer_position(document) == html_place.footer_position(document + b"x")


@pytest.mark.parametrize(
    ("document", "before"),
    [
        (b"<html><body><p>x</p></body></html>", b"</body></html>"),
        (b"<body>x</body>\r\n<p>added later</p></body></html>\r\n", b"</body></html>\r\n"),
        (b"<body>x<!-- </body> --></body></html><img src=o.gif>", b"</body></html><img src=o.gif>"),
        (b"<body>x<!-- </body> -->", b""),
        (b"<BODY>x</BODY\r\n>\r\n</HTML>", b"</BODY\r\n>\r\n</HTML>"),
        (b"<html>x</html>", b"</html>"),
        (b"<p>fragment", b""),
        (b'<body><a title="</body>">x</a>', b""),
        (b"<body><script>document.write('</body>')</script>", b""),
        (b"<body>x</body><!-- open", b"</body><!-- open"),
        (b'<p>x</p><a href="open', b'<a href="open'),
        (b"<template><p></body></template>x", b""),
        (b"<body>x</body><template><p></body></template>", b"</body><template><p></body></template>"),
        (b"", b""),
    ],
)
def test_the_footer_goes_before_the_last_real_end(document: bytes, before: bytes) -> None:
    assert document[html_place.footer_position(document) :] == before


def test_anchors_are_read_as_browsers_read_them() -> None:
    document = (
        b'<a href="https://x.example/?a=1&amp;b=2">Stop <b>now</b></a><!-- <a href="c">c</a> --><A HREF=\'/y\'><img '
        b'alt="uit"></A><a name=top>top</a><a class=x href=https://z.example/1></a>'
        b'<a style="display: none" href="h">h</a>'
        b"<script>'<a href=\"s\">'</script>"
    )
    found = html_spans.anchors(document)
    assert [(a.href, a.visible) for a in found] == [
        ("https://x.example/?a=1&b=2", True), ("/y", True), ("https://z.example/1", False), ("h", False),
    ]  # fmt: skip
    assert found[0].text == "Stop now"
    assert document[found[0].start : found[0].end] == b"https://x.example/?a=1&amp;b=2"
    assert document[found[2].start : found[2].end] == b"https://z.example/1"


@pytest.mark.parametrize("start", [b"<a ", b"<!--", b'<a b="', b"<style>", b"<a b='\"", b"</", b"<!", b"<a <a <a '"])
def test_hostile_repetition_is_read_in_one_pass(start: bytes) -> None:
    """A quarter of a megabyte of openers takes as many steps, not their square: done within the test's patience."""
    document = start * (250_000 // len(start)) + b"</body>"
    assert 0 <= html_place.footer_position(document) <= len(document)
    html_spans.anchors(document)
    html_spans.text_runs(document)
    opt_out.own_links(document + b"unsubscribe_url", "html", ("https://x.example/",))


def test_language_and_meta_charset() -> None:
    assert html_spans.language(b'<!doctype html><HTML dir=ltr xml:lang="nl-BE">') == "nl-BE"
    assert html_spans.language(b"<html><body lang=nl>") is None
    document = b'<meta http-equiv="Content-Type" content="text/html; charset=utf-16"><META CHARSET=utf-16 />'
    assert html_spans.with_meta_charset(document, b"utf-8") == (
        b'<meta http-equiv="Content-Type" content="text/html; charset=utf-8"><META CHARSET=utf-8 />'
    )


@pytest.mark.parametrize(
    ("document", "spans", "visible"),
    [
        (b'<a href="{{unsubscribe_url}}">Stop</a>', [b"{{unsubscribe_url}}"], True),
        (b'<a href="https://%7B%7Bunsubscribe_url%7D%7D">Stop</a>', [b"https://%7B%7Bunsubscribe_url%7D%7D"], True),
        (b'<a href="%%unsubscribe_url%%"></a>', [b"%%unsubscribe_url%%"], False),
        (b"<p>Stop: {{ unsubscribe_url }}</p>", [b"{{ unsubscribe_url }}"], True),
        (b"<!-- {{unsubscribe_url}} --><p>x</p>", [b"{{unsubscribe_url}}"], False),
        (b'<a href="https://t.example/u?a=1&amp;b=2">Stop</a>', [b"https://t.example/u?a=1&amp;b=2"], True),
        (b'<a href="https://t.example/u?a=1&amp;b=22">Stop</a>', [], False),
        (b"<p>https://t.example/u?a=1&amp;b=2</p>", [], False),
    ],
)
def test_links_of_our_own_in_html(document: bytes, spans: list[bytes], visible: bool) -> None:
    found, seen = opt_out.own_links(document, "html", ("https://t.example/u?a=1&b=2", "mailto:u@t.example"))
    assert [document[a:b] for a, b in found] == spans
    assert seen is visible


def test_links_of_our_own_in_text() -> None:
    text = (
        b"Stop: {{unsubscribe_url}} or https://t.example/u/1. Not https://t.example/u/12 or https://t.example/u/1.gif"
    )
    found, seen = opt_out.own_links(text, "text", ("https://t.example/u/1",))
    assert [text[a:b] for a, b in found] == [b"{{unsubscribe_url}}", b"https://t.example/u/1"]
    assert seen


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("Afmelden: https://x.example/1", True),
        ("https://x.example/unsubscribe/1", True),
        ("Pour vous désabonner, écrivez à stop@x.example", True),
        ("Hier abmelden\r\n(https://x.example/a)", True),
        ("配信停止はこちら https://x.example/1", True),
        ("Unsubscribe.", False),
        ("Read more: https://x.example/1" + " " * 500 + "unsubscribe", False),
        ("Nothing here", False),
    ],
)
def test_visible_opt_out_in_text(text: str, visible: bool) -> None:
    assert opt_out.is_visible(text) is visible


def test_visible_opt_out_in_html() -> None:
    assert opt_out.is_visible_in_html(b'<a href="https://x.example/1">Uitschrijven</a>', ())
    assert opt_out.is_visible_in_html(b'<a href="mailto:stop@x.example?subject=unsubscribe"><img alt=stop></a>', ())
    assert opt_out.is_visible_in_html(b'<a href="https://x.example/1">here</a>', ("https://x.example/1",))
    assert not opt_out.is_visible_in_html(b'<a href="https://x.example/unsubscribe"></a>', ())
    assert not opt_out.is_visible_in_html(b'<!--<a href="https://x.example/1">Unsubscribe</a>--> Unsubscribe', ())
    assert not opt_out.is_visible_in_html(b'<a href="{{unsubscribe_url}}">Unsubscribe</a>', ())
