"""The report in real browsers; `make test-browser` runs it."""

import dataclasses
import json
import os
import socket

import numpy as np
import pytest
from folder_results import random_assignments, random_probabilities, thumbnail

from cdc_mm.folders import apply_names, write_report

HOSTILE = [
    '<img src=x onerror=alert(1)>.png',
    '</script><script>alert(1)</script>.png',
    os.fsdecode(b'a\xff.png'),
    '\u202egnp.exe',
    'w' * 250 + '.png',
]


@pytest.fixture(scope='module')
def images():
    images = random_assignments(90, 4, duplicates=3, near=9)
    paths = [*HOSTILE, *images.paths[len(HOSTILE) :]]
    return dataclasses.replace(images, paths=paths, names=['0', '<b>one</b>', '2', 'y' * 200])


@pytest.fixture(scope='module')
def report(images, tmp_path_factory):
    path = tmp_path_factory.mktemp('report') / 'report.html'
    write_report(
        path, images, xy=np.random.RandomState(0).randn(90, 2), thumbnail=thumbnail,
        title='Photographs ' + 'z' * 90, summary=[('Images', 90), ('Encoder', 'x' * 90)],
        sureness=dict(agreement=0.8, linear_cv=0.9), warnings=['v' * 300, 'one'],
        curves=dict(loss=[3.0, 2.0, 1.0]), num_clusters=None, recipe='u' * 300,
    )  # fmt: skip
    return path


@pytest.fixture
def page(browser, report):
    """The report, opened anew and without what was typed before; nothing may go wrong in it."""
    browser.open(report)
    browser.js('localStorage.clear()')
    browser.open(report)
    yield browser
    assert not browser.problems()


def text(page, selector):
    return page.js(f'document.querySelector({json.dumps(selector)}).textContent')


def downloaded(page, folder):
    folder.mkdir(exist_ok=True)
    page.download_to(folder)
    page.click('#download')
    [(name, content)] = page.downloads(folder).items()
    assert name == 'names.json'
    return content


def test_the_page_sees_what_it_must_not_do(page):
    """The watch itself: a console message, a request and an error are noticed."""
    for what in (
        'console.log("x")',
        'void fetch("http://127.0.0.1:9/x").catch(() => 0)',
        'void setTimeout(() => { throw new Error("x"); })',
        'document.body.append(Object.assign(new Image(), {src: "http://127.0.0.1:9/x.png"}))',
        'document.body.append(Object.assign(document.createElement("script"), {text: "1"}))',
    ):
        page.forget()
        page.js(what)
        page.frames(5)
        assert page.problems(), what
    page.forget()


def test_a_request_is_seen_where_nothing_forbids_it(browser, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{nobody.getsockname()[1]}/x.png'
        page = tmp_path / 'page.html'
        page.write_text(f'<!doctype html><meta charset="utf-8"><img src="{url}">')
        browser.open(page)
        browser.frames(5)
        assert url in browser.problems()


def test_cards_and_pictures_are_shown(page, images):
    assert page.js('document.querySelectorAll(".card").length') == 4
    for k in range(4):
        page.js(f'document.getElementById("cluster-{k}").scrollIntoView({{behavior: "instant"}})')
        page.frames(5)
    loaded = page.js(
        '[...document.querySelectorAll(".strip img")].map((i) => i.complete && i.naturalWidth > 0)'
    )
    assert all(loaded) and len(loaded) > 60
    names = page.js('[...document.querySelectorAll(".card h3")].map((e) => e.textContent)')
    assert names == ['Cluster 0', '<b>one</b>', 'Cluster 2', 'y' * 200]
    assert page.js('document.querySelectorAll(".card b, .path img").length') == 0
    assert text(page, '#matching') == '90 of 90 on the map'


def test_renamed_merged_and_dropped_clusters_reach_the_file(page, images, tmp_path):
    assert page.js('document.getElementById("changes").hidden')
    page.fill('#cluster-0 .name', '  cats, "=1"  ')
    page.click('#cluster-2 .merge')
    page.js('document.getElementById("merge-with").value = "0"')
    page.click('#merge-ok')
    page.click('#cluster-3 .drop')
    assert text(page, '#changes-text') == '1 renamed, 1 merged, 1 dropped'
    assert text(page, '#cluster-2 .state') == 'Merged with cluster 0'
    content = downloaded(page, tmp_path / 'one')
    assert content == dict(
        format='cdc_mm names 1',
        report=images.report_id,
        num_clusters=4,
        names=['cats, "=1"', '<b>one</b>', 'cats, "=1"', None],
    )
    probs = random_probabilities(90, 4, np.random.RandomState(0))
    named = apply_names(images, tmp_path / 'one' / 'names.json', probs)
    assert named.names == ['cats, "=1"', '<b>one</b>', 'cats, "=1"', '']
    # The merged ones are renamed together, whatever the other lists call them.
    page.fill('#cluster-2 .name', '<i>dogs</i>')
    assert text(page, '#sizes [data-name="0"]') == text(page, '#title-0') == '<i>dogs</i>'
    assert text(page, '#only option[value="2"]') == '<i>dogs</i>'
    page.click('#cluster-0 .merge')
    assert text(page, '#title-0') == 'Cluster 0' and text(page, '#title-2') == '<i>dogs</i>'
    page.click('#cluster-3 .drop')
    page.fill('#cluster-1 .name', '')
    assert downloaded(page, tmp_path / 'two')['names'] == [
        '0', '<b>one</b>', '<i>dogs</i>', 'y' * 200,
    ]  # fmt: skip
    page.click('#reset')
    assert page.js('document.getElementById("changes").hidden')


def test_the_same_name_merges_and_is_remembered(page, report, tmp_path):
    page.fill('#cluster-0 .name', '<b>one</b>')
    assert text(page, '#cluster-1 .state') == 'Merged with cluster 0'
    page.open(report)
    assert text(page, '#changes-text') == '1 merged'
    assert downloaded(page, tmp_path / 'x')['names'][:2] == ['<b>one</b>'] * 2


def test_all_is_reached_by_keyboard(page):
    page.js('document.querySelector(".skip").focus()')
    assert page.js('document.hasFocus()')
    seen = set()
    for _ in range(80):
        page.key('Tab')
        seen.add(page.js('document.activeElement.className || document.activeElement.id'))
        # Behind the last one Firefox goes on to its own buttons, and later comes back.
        outlined = page.js(
            '!document.hasFocus() || document.activeElement === document.body || '
            'getComputedStyle(document.activeElement).outlineStyle !== "none"'
        )
        assert outlined
    assert {'name', 'merge', 'drop', 'only', 'below', 'map'} <= seen
    # Every control has a name.
    assert not page.js(
        '[...document.querySelectorAll("button, input, select, canvas")].filter((e) => '
        '!e.getAttribute("aria-label") && !e.textContent.trim() && !(e.labels || []).length)'
        '.map((e) => e.outerHTML)'
    )


def test_a_strip_goes_by_arrows_and_opens_an_image(page):
    page.js('document.querySelector("#cluster-0").scrollIntoView({behavior: "instant"})')
    page.frames(5)
    page.js('document.querySelector("#cluster-0 .strip button").focus()')
    for key, place in (('ArrowRight', 1), ('ArrowDown', 7), ('ArrowLeft', 6), ('ArrowUp', 0)):
        page.key(key)
        here = '[...e.parentElement.children].indexOf(e)'
        assert page.js(f'(() => {{ const e = document.activeElement; return {here}; }})()') == place
    page.key('ArrowRight')
    stops = page.js(
        '[...document.querySelectorAll(".strip")].map((strip) => '
        '[...strip.children].filter((button) => button.tabIndex === 0).length)'
    )
    assert stops == [1] * 13  # of three for each cluster, and one of copies
    label = page.js('document.activeElement.getAttribute("aria-label")')
    page.key('Enter')
    assert page.js('document.getElementById("image").open')
    assert label.startswith(text(page, '#image .path'))
    page.key('Escape')
    assert not page.js('document.getElementById("image").open')


def test_copies_are_shown_and_open(page, images):
    assert text(page, '.copy h3') == '13 images' and text(page, '.copy .none') == 'and 7 more'
    page.js('document.getElementById("copies").scrollIntoView({behavior: "instant"})')
    page.frames(5)
    shown = '[...document.querySelectorAll(".copy img")].map((i) => i.naturalWidth > 0)'
    assert page.js(shown) == [True] * 6
    page.click('.copy button:nth-child(2)')
    assert 'Near duplicate' in text(page, '#image .details')
    page.key('Escape')


def test_the_map_shows_images_by_mouse_and_keys_and_filters(page, images):
    page.js('document.getElementById("map").scrollIntoView({behavior: "instant"})')
    page.js('document.getElementById("map").focus()')
    seen = set()
    for key in ('ArrowRight', 'ArrowRight', 'ArrowUp', 'ArrowLeft', 'ArrowDown'):
        page.key(key)
        seen.add(text(page, '#details .path'))
    shown = [name.encode('utf-8', 'replace').decode() for name in images.paths]
    assert len(seen) > 2
    # Long ones are cut in the middle.
    assert seen <= {*shown, f'{"w" * 80}\u2026{"w" * 76}.png'}
    page.js('document.getElementById("only").value = 2')
    page.js('document.getElementById("only").dispatchEvent(new Event("change"))')
    page.js('document.getElementById("below").value = 0.6')
    page.js('document.getElementById("below").dispatchEvent(new Event("input"))')
    among = np.flatnonzero((images.cluster == 2) & (images.confidence <= 0.6))
    assert text(page, '#matching') == f'{len(among)} of 90 on the map'
    assert text(page, '#details') == ''
    page.frames()
    box = page.js(
        '(() => { const b = document.getElementById("map").getBoundingClientRect();'
        'return [b.x, b.y, b.width, b.height]; })()'
    )
    found = set()
    for x in np.linspace(0.02, 0.98, 12):
        for y in np.linspace(0.02, 0.98, 12):
            page.move(float(box[0] + x * box[2]), float(box[1] + y * box[3]))
            if page.js('document.querySelector("#details .path") !== null'):
                found.add(text(page, '#details .path'))
    assert found and found <= {shown[i] for i in among}


@pytest.mark.parametrize('width', [360, 768, 1280])
@pytest.mark.parametrize('dark', [False, True])
def test_nothing_is_wider_than_the_window_and_text_is_readable(page, report, width, dark):
    page.open(report, width=width, height=740, dark=dark)
    page.fill('#cluster-0 .name', 'q' * 200)
    assert page.js('document.documentElement.scrollWidth') <= width
    assert page.js('innerWidth') == width
    wide = page.js(
        '[...document.querySelectorAll("body *")].filter((e) => !e.closest("dialog, .skip, svg") &&'
        f'e.getBoundingClientRect().right > {width} + 1).map((e) => e.className || e.tagName)'
    )
    assert wide == []
    assert page.js(CONTRAST) >= 4.5


# The least contrast (WCAG 2) of text with what is behind it.
CONTRAST = """
(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    const through = color === 'rgba(0, 0, 0, 0)' && element.parentElement;
    return through ? behind(element.parentElement) : color;
  };
  return Math.min(...[...document.querySelectorAll('main *, .top *, .changes *')]
    .filter((e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      && e.getClientRects().length && !e.disabled)
    .map((e) => {
      const both = [light(getComputedStyle(e).color), light(behind(e))];
      return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    }));
})()
"""
