"""What known tools send: their own opt-out link becomes ours, whatever way it is written; every other link stays."""

import base64
import html
import json
import re
from dataclasses import dataclass

import pytest

from gateway.mail.tool_link import ToolLinks
from tests.judge import Case, judge
from tests.mails import PAGE, copied, leaf, leaves, message, multipart, octets

C, S, L = (
    "0b9a1c6e-5f0d-4c0f-9b5a-0a1c8f3c2d11",
    "7d1f8e34-3a55-4d0e-8f0c-6c6f1f7f9a02",
    "5c7e0d8a-1111-4222-8333-944455556666",
)
HASH = "5f4dcc3b5aa765d61d8327deb882cf99"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def url64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """`field`: its List-Unsubscribe. `own`: forms of its opt-out in a body. `others`: links of it that lead elsewhere.

    `tracked`: links through its tracker, under whatever words.
    """

    field: str
    own: tuple[str, ...]
    others: tuple[str, ...]
    tracked: tuple[str, ...] = ()
    more: str = ""


MAILPOET = "https://shop.example/?mailpoet_router&endpoint="
MAILPOET_DATA = b64(json.dumps({"token": HASH, "email": "anna@example.org"}))
KEILA = "https://k.example/unsubscribe/p_12abcdEf/r_34ghijKl/QmFzZTY0SG1hYw"
ACELLE = "https://a.example/c/QmFzZTY0MTIz/unsubscribe/63f1a2b3c4d5e"
MAILWIZZ = "https://w.example/lists/ab123cd456ef7/unsubscribe/gh890ij123kl4/mn567op890qr1"
ACYMAILING = "https://j.example/index.php?option=com_acym&ctrl=frontusers&task=unsubscribe&userKey=a1B2c3D4e5&mail_id=7"
TOOLS = {
    "listmonk": Tool(
        field=f"<https://lm.example/subscription/{C}/{S}>",
        own=(f"https://lm.example/subscription/{C}/{S}",),
        others=(f"https://lm.example/subscription/{C}/{S}?manage=true", f"https://lm.example/campaign/{C}/{S}"),
        tracked=(f"https://lm.example/link/{L}/{C}/{S}",),
        more=f"X-Listmonk-Campaign: {C}\r\nX-Listmonk-Subscriber: {S}\r\n",
    ),
    "Mautic": Tool(
        field=f"<https://m.example/email/unsubscribe/6543210abcdef/anna@example.org/{HASH}>",
        own=("https://m.example/email/unsubscribe/6543210abcdef",),
        others=("https://m.example/email/view/6543210abcdef",),
        tracked=("https://m.example/r/93b6c9a8b1d3e1f2a3b4c5d6e?ct=" + b64('a:1:{s:4:"stat";s:13:"6543210abcdef";}'),),
        more="X-EMAIL-ID: 12\r\nPrecedence: Bulk\r\n",
    ),
    "phpList": Tool(
        field=f"<https://p.example/lists/?p=unsubscribe&uid={HASH}&jo=1>",
        own=(f"https://p.example/lists/?p=unsubscribe&uid={HASH}",),
        others=(f"https://p.example/lists/?p=preferences&uid={HASH}", f"https://p.example/lists/?p=forward&uid={HASH}"),
        tracked=(f"https://p.example/lists/lt.php?tid={HASH}", "https://p.example/lists/lt/Zm9vYmFy"),
        more="X-MessageID: 12\r\nX-ListMember: anna@example.org\r\nPrecedence: bulk\r\n",
    ),
    "Mailtrain": Tool(
        field="<https://mt.example/subscription/Xy12Zab/unsubscribe/HyL9qw_Ae1?auto=yes&c=Byj5CD6a>",
        own=("https://mt.example/subscription/Xy12Zab/unsubscribe/HyL9qw_Ae1?auto=yes&c=Byj5CD6a",
             "https://mt.example/subscription/Xy12Zab/unsubscribe/HyL9qw_Ae1"),
        others=("https://mt.example/subscription/Xy12Zab/manage/HyL9qw_Ae1",
                "https://mt.example/archive/Byj5CD6a/Xy12Zab/HyL9qw_Ae1"),
        tracked=("https://mt.example/links/Byj5CD6a/Xy12Zab/HyL9qw_Ae1/QmR7s1x",),
        more="X-FBL: Byj5CD6a.Xy12Zab.HyL9qw_Ae1\r\nList-ID: Wijn <Xy12Zab.mt.example>\r\n",
    ),
    "CiviMail": Tool(
        field="<mailto:u.12.3456.a1b2c3d4e5f60718@civi.example>",
        own=("https://org.example/civicrm/mailing/unsubscribe?reset=1&jid=12&qid=3456&h=a1b2c3d4e5f60718",
             "https://org.example/civicrm/mailing/optout?reset=1&jid=12&qid=3456&h=a1b2c3d4e5f60718"),
        others=("https://org.example/civicrm/mailing/forward?reset=1&jid=12&qid=3456&h=a1b2c3d4e5f60718",),
        more="X-CiviMail-Bounce: b.12.3456.a1b2c3d4e5f60718@civi.example\r\nPrecedence: bulk\r\n",
    ),
    "CiviMail with an address of the web": Tool(
        field="<https://org.example/civicrm/mailing/unsubscribe?reset=1&jid=12&qid=3456&h=a1b2c3d4e5f60718>",
        own=("https://org.example/civicrm/mailing/optout?reset=1&jid=12&qid=3456&h=a1b2c3d4e5f60718",),
        others=("https://org.example/civicrm/mailing/view?reset=1&id=7&h=a1b2c3d4e5f60718",),
        tracked=("https://org.example/civicrm/mailing/url?u=77&qid=3456",),
    ),
    "MailWizz": Tool(
        field=f"<{MAILWIZZ}?source=email-client-unsubscribe-button>",
        own=(MAILWIZZ,),
        others=("https://w.example/lists/ab123cd456ef7/update-profile/gh890ij123kl4",),
        tracked=("https://w.example/campaigns/mn567op890qr1/track-url/gh890ij123kl4/0123456789abcdef",),
        more="X-Mw-Campaign-Uid: mn567op890qr1\r\nX-Mw-Subscriber-Uid: gh890ij123kl4\r\n",
    ),
    "Keila": Tool(
        field="<https://k.example/unsubscribe/p_12abcdEf/r_34ghijKl/QmFzZTY0SG1hYw>",
        own=(KEILA,
             f"https://k.example/r/{url64(KEILA)}/r_34ghijKl/SG1hYw"),
        others=("https://k.example/r/" + url64("https://shop.example/wijn?page=unsubtle") + "/r_34ghijKl/SG1hYw",),
    ),
    "Sendy": Tool(
        field="<https://sendy.example/unsubscribe/892hL3763CMW2dPsBMhT8Q/763abcDEF892/p3GgHhI1>",
        own=("https://sendy.example/unsubscribe/892hL3763CMW2dPsBMhT8Q/763abcDEF892/p3GgHhI1",),
        others=("https://sendy.example/w/892hL3763CMW2dPsBMhT8Q/763abcDEF892",),
        tracked=("https://sendy.example/l/892hL3763CMW2dPsBMhT8Q/763abcDEF892/p3GgHhI1",),
    ),
    "MailPoet": Tool(
        field=f"<{MAILPOET}subscription&action=unsubscribe&data={MAILPOET_DATA}>",
        own=(f"{MAILPOET}subscription&action=unsubscribe&data={MAILPOET_DATA}",),
        others=(f"{MAILPOET}subscription&action=manage&data={MAILPOET_DATA}",),
        tracked=(f"{MAILPOET}track&action=click&data={b64(json.dumps(['12', 'abcdef', '34', 'a1b2c3', False]))}",),
    ),
    "The Newsletter Plugin": Tool(
        field="<https://wp.example/?na=uc&nk=12-abcdef0123&nek=5>",
        own=("https://wp.example/?na=u&nk=12-abcdef0123&nek=5-",
             "https://wp.example/?nltr=" + b64("5;12;https://wp.example/?na=u&nk=12-abcdef0123&nek=5-;;0123abcd")),
        others=("https://wp.example/?na=profile&nk=12-abcdef0123&nek=5-",
                "https://wp.example/?nltr=" + b64("5;12;https://shop.example/wijn;;0123abcd")),
    ),
    "Mailster": Tool(
        field=f"<https://wp.example/newsletter/unsubscribe/{HASH}/12/>",
        own=(f"https://wp.example/newsletter/unsubscribe/{HASH}/12/",
             f"https://wp.example/mailster/12/{HASH}/" + url64(f"https://wp.example/newsletter/unsubscribe/{HASH}/12/")),
        others=(f"https://wp.example/mailster/12/{HASH}/" + url64("https://shop.example/wijn"),),
    ),
    "FluentCRM": Tool(
        field=f"<https://wp.example/?fluentcrm=1&route=unsubscribe&ce_id=5&secure_hash={HASH}>",
        own=(f"https://wp.example/?fluentcrm=1&route=unsubscribe&ce_id=5&secure_hash={HASH}&x=1",),
        others=(f"https://wp.example/?fluentcrm=1&route=manage_subscription&ce_id=5&secure_hash={HASH}",),
        tracked=("https://wp.example/?ns_url=1a2b&mid=5",),
    ),
    "AcyMailing": Tool(
        field=f"<{ACYMAILING}>",
        own=(f"{ACYMAILING}&lang=nl",),
        others=("https://j.example/index.php?option=com_acym&ctrl=archive&task=view&userKey=a1B2c3D4e5",),
        tracked=("https://j.example/index.php?option=com_acym&ctrl=fronturl&task=click&urlid=3&userid=5&mailid=7",),
    ),
    "Odoo": Tool(
        field=f"<https://o.example/mailing/7/unsubscribe_oneclick?document_id=5&email=anna%40example.org&hash_token={HASH}>",
        own=(f"https://o.example/mailing/7/unsubscribe?document_id=5&email=anna%40example.org&hash_token={HASH}",),
        others=(f"https://o.example/mailing/7/view?document_id=5&email=anna%40example.org&hash_token={HASH}",),
        tracked=("https://o.example/r/aB1/m/17",),
        more="X-Odoo-Objects: mailing.mailing-7\r\n",
    ),
    "Ghost": Tool(
        field=f"<https://g.example/unsubscribe/?uuid={S}&key={HASH}&newsletter={C}>, <mailto:stop@g.example>",
        own=(f"https://g.example/unsubscribe/?uuid={S}&key={HASH}&newsletter={C}",),
        others=(f"https://g.example/wijn/?attribution_id={S}",),
        tracked=(f"https://g.example/r/a1b2c3d4?m={S}",),
    ),
    "Acelle": Tool(
        field=f"<{ACELLE}>",
        own=(ACELLE,
             f"https://a.example/p/{url64(ACELLE)}/click/QmFzZTY0MTIz"),
        others=("https://a.example/p/" + url64("https://shop.example/wijn") + "/click/QmFzZTY0MTIz",),
        more="X-Acelle-Message-Id: 1.2.3@a.example\r\n",
    ),
    "a tracker that takes the address along": Tool(
        field="<https://t.example/unsubscribe?u=12345678>",
        own=("https://click.example/?url=https%3A%2F%2Ft.example%2Funsubscribe%3Fu%3D12345678&id=9",
             "https://click.example/go/https%3A%2F%2Ft.example%2Funsubscribe%3Fu%3D12345678",
             "https://click.example/?u=https%253A%252F%252Ft.example%252Funsubscribe%253Fu%253D12345678"),
        others=("https://click.example/?url=https%3A%2F%2Ft.example%2Fwijn%3Fu%3D12345678&id=9",
                "https://click.example/?url=https%3A%2F%2Fother.example%2Funsubscribe%3Fu%3D12345678",
                "https://t.example/unsubscribe?u=99999999"),
    ),
}  # fmt: skip
CASES = [pytest.param(tool, own, id=f"{name}-{n}") for name, tool in TOOLS.items() for n, own in enumerate(tool.own)]


@pytest.mark.parametrize("cte", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize(("tool", "own"), CASES)
def test_the_tools_own_link_becomes_ours_and_no_other_does(tool: Tool, own: str, cte: str) -> None:
    others = (*tool.others, *tool.tracked)
    page = "".join(f'<p><a href="{html.escape(link)}">Lees meer</a></p>' for link in others)
    page = f'<html><body>{page}<p>Geen mail meer? <a href="{html.escape(own)}">Afmelden</a></p></body></html>'
    before = "".join(f"Lees meer: {link}\r\n" for link in others)
    text = before + f"Afmelden: {own}\r\n"
    raw = message(
        multipart("alternative", leaf(text, cte=cte), leaf(page, "text/html", cte=cte)),
        more=f"List-Unsubscribe: {tool.field}\r\n{tool.more}",
    )
    copy = copied(raw)
    assert (copy.done.footer, copy.plan.unsubscribe) == ("existing-link", "present")
    now_text, now_page = (octets(leaves(copy.mail)[path]).decode() for path in "12")
    assert now_text == before + f"Afmelden: {PAGE}\r\n"
    assert re.findall(r'href="([^"]*)"', now_page) == [*map(html.escape, others), PAGE]
    assert not judge(Case(before=raw, after=copy.raw, link=PAGE, replaced=(own,))).faults


TRACKED = [
    pytest.param(tool, link, id=f"{name}-{n}") for name, tool in TOOLS.items() for n, link in enumerate(tool.tracked)
]


@pytest.mark.parametrize(("tool", "link"), TRACKED)
@pytest.mark.parametrize("words", ["Afmelden", "<b>Unsubscribe</b> here", "Se désabonner", '<img alt="Abmelden">'])
def test_behind_the_tools_tracker_the_words_of_the_link_tell(tool: Tool, link: str, words: str) -> None:
    page = f'<html><body><a href="{html.escape(link)}">Wijn</a> <a href="{html.escape(link)}">{words}</a></body></html>'
    raw = message(leaf(page, "text/html"), more=f"List-Unsubscribe: {tool.field}\r\n")
    copy = copied(raw)
    assert copy.done.footer == "existing-link"
    assert re.findall(r'href="([^"]*)"', octets(copy.mail).decode()) == [html.escape(link), PAGE]


@pytest.mark.parametrize(("tool", "link"), TRACKED)
def test_in_text_the_words_before_it_tell(tool: Tool, link: str) -> None:
    text = f"Wijn: {link}\r\nAfmelden:\r\n{link}\r\n\r\nOf: {link}\r\n"
    copy = copied(message(leaf(text), more=f"List-Unsubscribe: {tool.field}\r\n"))
    assert octets(copy.mail).decode() == f"Wijn: {link}\r\nAfmelden:\r\n{PAGE}\r\n\r\nOf: {link}\r\n"


def test_without_a_list_unsubscribe_field_nothing_is_recognised() -> None:
    own = TOOLS["phpList"].own[0]
    copy = copied(message(leaf(f'<a href="{html.escape(own)}">Afmelden</a>', "text/html")))
    assert copy.done.footer == "html" and html.escape(own) in octets(copy.mail).decode()


@pytest.mark.parametrize("hidden", [
    '<div style="display:none">{}</div>', "<!-- {} -->", "<template>{}</template>", '<p hidden>{}</p>',
    '<div style="display:none"><p>x</p><div>{}</div></div>',
])  # fmt: skip
def test_a_link_that_nobody_sees_does_not_count(hidden: str) -> None:
    tool = TOOLS["listmonk"]
    page = "<html><body>" + hidden.format(f'<a href="{tool.own[0]}">Afmelden</a>') + "<p>Wijn</p></body></html>"
    copy = copied(message(leaf(page, "text/html"), more=f"List-Unsubscribe: {tool.field}\r\n"))
    assert copy.done.footer == "html"
    assert not judge(Case(before=message(leaf(page, "text/html")), after=copy.raw, link=PAGE, replaced=tool.own)).faults


@pytest.mark.parametrize("placeholder", [
    "{{unsubscribe_url}}", "{{ unsubscribe_url }}", "{{{unsubscribe_url}}}", "%%unsubscribe_url%%",
    "{{ UNSUBSCRIBE_URL }}", "http://{{unsubscribe_url}}", "https://%%unsubscribe_url%%",
    "%7B%7Bunsubscribe_url%7D%7D", "%7b%7b%20unsubscribe_url%20%7d%7d",
    "&#123;&#123;unsubscribe_url&#125;&#125;", "{{&nbsp;unsubscribe_url&nbsp;}}", "%25%25unsubscribe_url%25%25",
    "http://%7B%7Bunsubscribe_url%7D%7D",
])  # fmt: skip
@pytest.mark.parametrize("cte", ["7bit", "quoted-printable", "base64"])
def test_a_placeholder_is_filled_in_however_it_is_spelled(placeholder: str, cte: str) -> None:
    page = f"<html><body><p>Wijn</p><a href='{placeholder}'>Afmelden</a></body></html>"
    raw = message(leaf(page, "text/html", cte=cte))
    copy = copied(raw)
    assert copy.done.footer == "existing-link"
    assert octets(copy.mail).decode() == page.replace(placeholder, PAGE)
    assert not judge(Case(before=raw, after=copy.raw, link=PAGE, replaced=(placeholder,))).faults


def test_addresses_of_any_kind_are_read_without_harm() -> None:
    odd = ["https://[", "mailto:", "https://t.example/" + "a1" * 5000, "", "javascript:x"]
    links = ToolLinks([*odd, "https://t.example/u/abc123"])
    for href in ("//x/unsub", "https://t.example/unsub/%", "http://\ud800/unsubscribe", "x" * 10_000, "?nltr=&&&="):
        assert not links.is_own(href)
    assert links.is_own("https://T.example/unsubscribe/abc123")
    assert not links.is_own("https://t.example/u/abc124")
