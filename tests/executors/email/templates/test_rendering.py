"""What templates can do, what they cannot, and how they are told so."""

import html
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from at_worker import InvalidPayload, jsontext
from at_worker.executors.email.content import Content
from at_worker.executors.email.templates import Templates
from at_worker.jsontext import Json

DATA = """
{"name": "Ann <ann@example.org>", "note": null, "paid": true,
 "order": {"id": 42, "total": 19.90, "items": [{"name": "a", "price": 0.10}, {"name": "b", "price": 19.80}],
           "options": {"size": "L", "colour": "red"}}}
"""


def data(text: str = DATA) -> Mapping[str, Json]:
    value = jsontext.parse(text)
    assert isinstance(value, Mapping)
    return value


def _escaped(text: str) -> str:
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


class Place:
    """A directory of templates; one called `t` is made of what a test gives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.templates = Templates(str(path))

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text, encoding="utf-8")

    def render(self, text: str = "", values: str = DATA, **files: str) -> Content:
        self.write(**{"t__subject__txt": "subject", "t__txt": text, **files})
        return self.templates.render("t", data(values))

    def said(self, text: str, values: str = DATA) -> str:
        return self.render(text, values).body

    def problem(self, text: str = "", values: str = DATA, **files: str) -> InvalidPayload:
        with pytest.raises(InvalidPayload) as caught:
            self.render(text, values, **files)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_template_makes_subject_text_and_html(place: Place) -> None:
    place.write(
        t__subject__txt="Order {{ order.id }}\n",
        t__txt="Hello {{ name }},\n"
        "{%- for item in order.items %}\n{{ item.name }}: {{ item.price }}\n{%- endfor %}\n",
        t__html="<p>Hello {{ name }}</p>\n",
    )
    assert place.templates.render("t", data()) == Content(
        "Order 42",
        "Hello Ann <ann@example.org>,\na: 0.10\nb: 19.80",
        "<p>Hello Ann &lt;ann@example.org&gt;</p>",
    )


def test_without_its_html_a_template_makes_text_alone(place: Place) -> None:
    assert place.render("text") == Content("subject", "text", None)


@pytest.mark.parametrize("missing", ["t.subject.txt", "t.txt"])
def test_subject_and_text_are_required(missing: str, place: Place) -> None:
    place.write(t__subject__txt="s", t__txt="t", t__html="h")
    (place.path / missing).unlink()
    with pytest.raises(InvalidPayload) as caught:
        place.templates.render("t", {})
    assert str(caught.value) == f"invalid payload: template: there is no {missing} in SMTP_TEMPLATES"


def test_templates_share_layouts_includes_and_macros(place: Place) -> None:
    (place.path / "parts").mkdir()
    (place.path / "parts" / "base.html").write_text(
        "<b>{% block main %}{% endblock %}</b>{% include 'parts/end.html' %}"
    )
    (place.path / "parts" / "end.html").write_text("{{ name }}")
    (place.path / "parts" / "m.html").write_text("{% macro bold(text) %}<i>{{ text }}</i>{% endmacro %}")
    made = place.render(
        t__html="{% extends 'parts/base.html' %}{% from 'parts/m.html' import bold %}"
        "{% block main %}{{ bold(order.options.size) }}{{ bold('<') }}{% endblock %}"
    )
    assert made.html == "<b><i>L</i><i>&lt;</i></b>Ann &lt;ann@example.org&gt;"


def test_a_changed_file_counts_from_the_next_mail_on(place: Place) -> None:
    (place.path / "base.txt").write_text("one {% block a %}{% endblock %}")
    template = "{% extends 'base.txt' %}{% block a %}1{% endblock %}"
    assert place.said(template) == "one 1"
    (place.path / "base.txt").write_text("second {% block a %}{% endblock %}")
    assert place.said(template) == "second 1"
    assert place.said(template.replace("1", "22")) == "second 22"
    place.write(t__html="<p>")
    assert place.render("text").html == "<p>"
    (place.path / "t.html").unlink()
    assert place.render("text").html is None


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ order.total }} {{ order.id }}", "19.90 42"),
        ("{{ order.total * 3 }} {{ order.total * 1.19 }}", "59.70 23.6810"),
        ("{{ order['items'][1].price + order.items[0].price }}", "19.90"),
        ("{{ order.items|sum(attribute='price') }} {{ (order.total / 3)|round(2) }}", "19.90 6.63"),
        ("{{ order|tojson }}", '{"id":42,"total":19.90,"items":[{"name":"a","price":0.10}'),
        ("{{ '{:,.3f}'.format(order.total) }} {{ '%-5s|'|format('a') }}", "19.900 a    |"),
        ("{{ order.total ~ ' EUR' }}", "19.90 EUR"),
        (
            "{% for key, value in order.options.items() %}{{ key }}={{ value }} {% endfor %}",
            "size=L colour=red ",
        ),
        ("{{ order.options|dictsort|map('first')|join(', ') }}", "colour, size"),
        ("{{ order.options.get('size') }}{{ order.options.get('other', '?') }}", "L?"),
        ("{% if note %}never{% endif %}{{ note|default('no note', true) }}", "no note"),
        ("{{ nothing|default('-') }}{{ order.nothing is defined }}", "-False"),
        ("{% for i in order.items %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2"),
        ("{% for i in order.items %}{{ i.name }}{{ ', ' if not loop.last }}{% endfor %}", "a, b"),
        ("{% set x %}{{ name|upper }}{% endset %}{{ x[:3] }} {{ name.split(' ')[0] }}", "ANN Ann"),
    ],
)
def test_templates_say_what_people_expect(template: str, said: str, place: Place) -> None:
    assert place.said(template).startswith(said)


def test_numbers_keep_their_digits(place: Place) -> None:
    digits = "0.10000000000000000000000000000000000001"
    assert place.said("{{ n }} {{ m }} {{ s * 1 }}", f'{{"n": {digits}, "m": 1e30, "s": 0.0000000100}}') == (
        f"{digits} 1000000000000000000000000000000 0.0000000100"
    )


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ order.sum }}", "template_data.order.sum: is missing (t.txt, line 1)"),
        ("\n{{ customer.name }}", "template_data.customer: is missing (t.txt, line 2)"),
        ("{{ order.items[1].weight }}", "template_data.order.items[1].weight: is missing (t.txt, line 1)"),
        ("{{ order.items[7].name }}", "template_data.order.items[7]: is missing (t.txt, line 1)"),
        (
            "{{ order.items|map(attribute='x')|join }}",
            "template_data.order.items[0].x: is missing (t.txt, line 1)",
        ),
        ("{% if order.paid %}{% endif %}", "template_data.order.paid: is missing (t.txt, line 1)"),
        ("{% for x in order.lines %}{% endfor %}", "template_data.order.lines: is missing (t.txt, line 1)"),
        ("{{ order.options.items }}", "template_data.order.options.items: is missing (t.txt, line 1)"),
        ("{% if order.values %}{% endif %}", "template_data.order.values: is missing (t.txt, line 1)"),
        ("{{ order.options.update() }}", "template_data.order.options.update: is missing (t.txt, line 1)"),
        ("a\n\n{{ note }}", "template: t.txt, line 3: would print null"),
        ("{{ order.options }}", "template: t.txt, line 1: would print an object"),
        ("{{ order.items }}", "template: t.txt, line 1: would print an array"),
        ("{{ name.upper }}", "template: t.txt, line 1: would print a builtin_function_or_method"),
        ("{{ name + 1 }}", 'template: t.txt, line 1: TypeError: can only concatenate str (not "int") to str'),
        ("{{ []|first }}", "template: t.txt, line 1: No first item, sequence was empty."),
        ("a\n{% if %}", "template: t.txt, line 2: Expected an expression, got 'end of statement block'"),
        ("{{ name|shout }}", "template: t.txt, line 1: No filter named 'shout'."),
        ("{% include 'no.txt' %}", "template: t.txt, line 1: there is no no.txt in SMTP_TEMPLATES"),
        ("{% extends 'no.txt' %}", "template: t.txt, line 1: there is no no.txt in SMTP_TEMPLATES"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(template: str, problem: str, place: Place) -> None:
    assert str(place.problem(template)) == f"invalid payload: {problem}"


def test_the_place_is_in_the_file_that_is_included(place: Place) -> None:
    (place.path / "part.txt").write_text("\n\n{{ order.sum }}")
    assert str(place.problem("{% include 'part.txt' %}")).endswith("order.sum: is missing (part.txt, line 3)")


def test_a_macro_that_does_not_see_the_data_is_told_how_it_would(place: Place) -> None:
    (place.path / "m.txt").write_text("{% macro greet() %}{{ name }}{% endmacro %}")
    told = place.problem("{% import 'm.txt' as m %}{{ m.greet() }}")
    assert told.why == "m.txt, line 1: name is not seen there; import it with context"
    assert place.said("{% import 'm.txt' as m with context %}{{ m.greet() }}").startswith("Ann")


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "x" * 5000, "a\u2028b"])
def test_odd_names_in_the_data_make_one_short_line(name: str, place: Place) -> None:
    values = jsontext.render({"data": {name: {}}})
    assert place.problem("{{ data[data|list|first].x }}", values).why == "is missing (t.txt, line 1)"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ ''|attr('__class__') }}",
        "{{ name|attr('__init__') }}",
        "{{ [name]|map(attribute='__class__')|list }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{a.__init__}'.format_map({'a': 1}) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ loop.__class__ }}",
        "{{ range.__self__ }}",
        "{{ namespace.__init__ }}",
        "{{ joiner.__init__.__globals__.os }}",
        "{{ dict.mro() }}",
        "{{ lipsum() }}",
        "{{ order.__class__ }}",
        "{{ order['__class__'] }}",
        "{{ order.items.__class__ }}",
        "{{ order.total.__reduce__() }}",
        "{{ order.items.append(1) }}",
        "{{ order.items.pop() }}",
        "{{ order.options.clear() }}",
        "{% set order.id = 1 %}",
        "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
        "{{ order.options.items.__globals__ }}",
        "{{ order.options.items().__class__ }}",
        "{{ self._TemplateReference__context }}",
        "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
        "{{ (range(3)|map('string')).gi_frame }}",
        "{{ caller.__globals__ }}",
        "{{ import('os') }}",
        "{{ open('/etc/passwd') }}",
    ],
)
def test_no_template_gets_out_of_the_sandbox(template: str, place: Place) -> None:
    values = data()
    place.write(t__subject__txt="s", t__txt=template)
    with pytest.raises(InvalidPayload) as caught:
        place.templates.render("t", values)
    assert caught.value.field.startswith("template")
    assert values == data()


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) if j > i %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% set x = range(100000)|sum %}{% endfor %}",
        "{% for i in [1] recursive %}{{ loop(range(100000)) }}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 't.txt' %}{% include 't.txt' %}",
        "{% extends 't.txt' %}",
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% for i in range(100000) %}" + "x" * 1000 + "{% endfor %}",
        "{% set x %}{% for i in range(100000) %}" + "x" * 1000 + "{% endfor %}{% endset %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{{ range(10**9)|list }}",
        "{{ 'x' * 10**9 }}",
        "{{ 10**(10**9) }}",
        "{{ [1] * 10**9 }}",
        "{{ 'x'|center(10**9) }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ 'x'.zfill(width) }}",
        "{{ 'x'.ljust(width) }}",
        "{{ ''|indent(width) }}",
        "{{ [1]|batch(width, 0)|list }}",
        "{{ [1]|slice(width)|list }}",
        "{{ 1|round(-width) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d'|format(width, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, width) }}",
        "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}",
        "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
        "{{ (range(99999)|map('string')|list)|join('b' * 99999) }}",
        "{{ '" + "(" * 3000 + "' }}{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    ],
)
def test_no_template_runs_for_ever_or_eats_the_memory(template: str, place: Place) -> None:
    started = time.monotonic()
    told = place.problem(template, '{"width": 1000000000}')
    assert time.monotonic() - started < 20
    assert told.field.startswith("template")


def test_a_long_list_is_well_within_the_allowance(place: Place) -> None:
    rows = jsontext.render({"rows": [{"name": f"row {n}", "price": n} for n in range(5000)]})
    cells = "{{ loop.index }}: {{ row.name|upper|center(30) }} {{ '%.2f'|format(row.price) }}"
    template = f"{{% for row in rows %}}{cells}\n{{% endfor %}}"
    assert len(place.said(template, rows)) > 200_000


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "secret.txt", "a.txt/../../secret"])
def test_no_include_leads_out_of_the_directory(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    (tmp_path / "templates").mkdir()
    place = Place(tmp_path / "templates")
    (place.path / "secret.txt").symlink_to(tmp_path / "secret")
    for template in (
        f"{{% include '{name}' %}}",
        "{% include name %}",
        "{% extends name %}",
        "{% import name as x %}",
    ):
        assert "hunter2" not in str(place.problem(template, jsontext.render({"name": name})))


def test_what_is_not_escaped_cannot_be_part_of_html(place: Place) -> None:
    (place.path / "signature.txt").write_text("{{ name }}")
    assert place.problem(t__html="{% include 'signature.txt' %}").why == (
        "t.html, line 1: signature.txt is text, which is not escaped, and cannot be part of HTML"
    )


def test_included_files_of_any_other_name_are_escaped(place: Place) -> None:
    (place.path / "part.inc").write_text("{{ name }}")
    assert place.render(t__html="{% include 'part.inc' %}").html == "Ann &lt;ann@example.org&gt;"


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_adds_anything_but_text_to_html(value: str, place: Place) -> None:
    place.write(t__subject__txt="s", t__txt="t", t__html="<p title='{{ value }}'>{{ value }}</p>")
    made = place.templates.render("t", {"value": value}).html
    assert made == f"<p title='{_escaped(value)}'>{_escaped(value)}</p>"
    assert not set("<>'\"") & set(_escaped(value))


def test_files_that_are_no_templates_are_listed_with_their_lines(place: Place) -> None:
    place.write(good__txt="{{ anything.at.all }}", bad__html="\n\n{% endif %}", worse__txt="{{ x|shout }}")
    (place.path / "latin.txt").write_bytes(b"\xff")
    count, problems = place.templates.problems()
    assert count == 4
    assert problems == [
        "bad.html, line 3: Encountered unknown tag 'endif'.",
        "latin.txt is not UTF-8",
        "worse.txt, line 1: No filter named 'shout'.",
    ]
