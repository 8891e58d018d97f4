"""What comes or goes above an element does not make the browser rebuild it: it stays open, scrolled and zoomed."""

import shutil

from real_browser import MARKS, SETTLED
from teach_pictures import drawn, png

from cifar_core.inference.pictures import Picture
from cifar_core.runs import Run
from cifar_core.teach import project as projects

pytestmark = MARKS
MARK = "(elements) => elements.forEach((element) => (element.isMarked = true))"
MARKED = "(elements) => elements.map((element) => element.isMarked === true)"
SCROLLED = "(element) => [...element.querySelectorAll('*')].find((one) => one.scrollHeight > one.clientHeight + 200)"


def test_nothing_is_rebuilt_by_what_comes_or_goes_above_it(app, tab, recorded_run):
    unpinning_a_picture_leaves_the_pins_open(app, tab)
    a_choice_in_the_gallery_does_not_scroll_it_up(app, tab)
    a_deleted_run_and_its_undo_leave_the_charts(app, tab, recorded_run)
    a_deleted_class_does_not_pass_the_camera_of_its_neighbor_on(app, tab)
    a_moved_slider_leaves_the_curves_of_the_head_lab(app, tab)


def unpinning_a_picture_leaves_the_pins_open(server, page) -> None:
    page.goto(server.address)
    page.get_by_text("Watch it learn: 6 pictures pinned").wait_for()
    page.evaluate(SETTLED)
    page.get_by_text("Watch it learn: 6 pictures pinned").click()
    page.evaluate(SETTLED)  # else what moves meanwhile may swallow the click
    page.get_by_role("button", name="Unpin", exact=True).first.click()
    page.get_by_text("Watch it learn: 5 pictures pinned").wait_for()
    page.evaluate(SETTLED)
    assert page.get_by_role("button", name="Unpin all").is_visible()


def a_choice_in_the_gallery_does_not_scroll_it_up(server, page) -> None:
    page.goto(f"{server.address}/classify")
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": png(drawn("spots", n, 32))} for n in range(30)]
    page.locator(".st-key-drop_zone [data-testid=stFileUploaderDropzoneInput]").set_input_files(files)
    tiles = page.locator(".st-key-gallery button.tile")
    tiles.nth(29).wait_for()
    page.evaluate(SETTLED)
    tiles.nth(29).scroll_into_view_if_needed()
    scrolled = page.locator(".st-key-gallery").evaluate_handle(SCROLLED)
    tiles.nth(29).click()
    page.locator(".st-key-photo").get_by_text("29.png").wait_for()
    page.evaluate(SETTLED)
    assert scrolled.evaluate("(element) => element.isConnected && element.scrollTop > 0")


def a_deleted_run_and_its_undo_leave_the_charts(server, page, run: Run) -> None:
    other = Run(run.id.replace("20261128", "20261127"))
    shutil.copytree(run.path, other.path)
    page.goto(f"{server.address}/explore")
    page.get_by_text("Rename, note, star, delete").click()
    charts = page.locator(".live-chart:has(.main-svg)")
    charts.nth(1).wait_for()
    page.evaluate(SETTLED)
    charts.evaluate_all(MARK)
    page.get_by_role("button", name="Delete", exact=True).click()
    undo = page.get_by_role("button", name="Undo")
    undo.wait_for()
    page.evaluate(SETTLED)
    assert all(charts.evaluate_all(MARKED))
    undo.click()
    undo.wait_for(state="detached")
    page.evaluate(SETTLED)
    assert all(charts.evaluate_all(MARKED))
    page.get_by_role("button", name="Delete", exact=True).click()
    undo.wait_for()
    page.evaluate(SETTLED)
    page.get_by_role("button", name="Hide", exact=True).click()
    undo.wait_for(state="detached")
    assert sorted([run.path.exists(), other.path.exists()]) == [False, True]  # hidden, not undone


def a_deleted_class_does_not_pass_the_camera_of_its_neighbor_on(server, page) -> None:
    projects.create("kinds")
    for place, kind in enumerate(("one", "two", "three")):
        projects.add("kinds", [(kind, Picture(f"{n}.png", drawn("spots", 9 * place + n))) for n in range(2)])
    page.goto(f"{server.address}/teach")
    page.locator(".st-key-teach_kinds_1_card").get_by_role("button", name="Camera").click()
    stop = page.get_by_role("button", name="Stop camera")
    stop.wait_for()
    page.locator(".st-key-teach_kinds_0_delete button").first.click()
    page.get_by_text("Deleted: class one").wait_for()
    stop.wait_for(state="hidden")


def a_moved_slider_leaves_the_curves_of_the_head_lab(server, page) -> None:
    page.goto(f"{server.address}/explore?section=lab")
    curves = page.locator(".live-chart:has(.main-svg)").first
    curves.wait_for()
    page.evaluate(SETTLED)
    curves.evaluate("(element) => (element.isMarked = true)")
    page.locator(".st-key-lab_sliders").get_by_role("slider").first.press("ArrowRight")
    page.get_by_text("Stored result on CIFAR-10").wait_for(state="detached")
    page.evaluate(SETTLED)
    assert curves.evaluate("(element) => element.isMarked")
