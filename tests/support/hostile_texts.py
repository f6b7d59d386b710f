"""Five hundred texts that try to be more than text, as they come in commit subjects, authors and messages.

Each holds `MARK`, so that a test finds what became of it.
"""

from __future__ import annotations

from itertools import cycle

MARK = "zq7"

_SHAPES = (
    "<script>alert('zq7')</script>",
    "</script><script src=//zq7.example></script>",
    "<img src=x onerror=alert(zq7)>",
    "<svg/onload=alert(zq7)>",
    '"><zq7 onmouseover="alert(1)">',
    "' onfocus='alert(zq7)' autofocus='",
    "` onclick=`alert(zq7)`",
    "zq7{{7*7}}=zq7{% for a in b %}{{ config }}{% endfor %}${7*7}#{7*7}<%= 7*7 %>",
    "javascript:alert('zq7')",
    "data:text/html,<script>zq7</script>",
    "</title><zq7>",
    "</pre></div></main><zq7>",
    "<!-- zq7 --><![CDATA[zq7]]>",
    "--><zq7>",
    "<hx-partial hx-target='body' hx-swap='innerHTML'><zq7></hx-partial>",
    "<div hx-get=/sign-out hx-trigger=load>zq7</div>",
    '" hx-on:click="alert(zq7)" x="',
    "<template hx type=partial hx-target=body>zq7</template>",
    "<head><title>zq7</title></head>",
    "<style>*{display:none}</style>zq7",
    "zq7\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "zq7 \u202egnp.exe\u202c \u2066\u2069 \u200f\u061c",
    "zq7\x00after\x00\x08\x7f\x9b31m",
    "zq7 \ud800 half",
    "zq7\r\n\r\nevent: x\r\ndata: <zq7>\n\n",
    "zq7\u2028line\u2029paragraph\x0b\x0c\x1c\x85",
    "&lt;zq7&gt;&#60;zq7&#62;&amp;",
    "zq7" * 3500,
    "<zq7>" * 2000,
    "\u0301" * 300 + "zq7",
    "zq7 \U0001f600 \u4e2d\u6587 \u05e9\u05dc\u05d5\u05dd",
    '=HYPERLINK("//zq7.example")',
    "+zq7",
    "-zq7|calc",
    "@SUM(zq7)",
    "../../etc/zq7",
    "zq7?a=b&c=d#e%00%2e",
    "`zq7` ``<zq7>`` `<b>zq7</b>`",
    "",
    "   \t zq7 \t ",
)

TEXTS: tuple[str, ...] = tuple(
    f"{shape}{number if number >= len(_SHAPES) else ''}"
    for number, shape in zip(range(500), cycle(_SHAPES), strict=False)
)
