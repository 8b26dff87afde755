"""A walking body's .glb in a real browser: three.js in headless Chromium must put every bone where the take has its joint.

Needs playwright (Python), Chromium on the path or in VITRUVIAN_CHROMIUM, and the npm package `three` in VITRUVIAN_THREE (its folder) or
in node_modules of the repository; skipped where one is missing.
"""

from __future__ import annotations

import mimetypes
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vitruvian.body.compact import load_compact
from vitruvian.body.model import BodyParameters
from vitruvian.formats.body_figure import body_figure
from vitruvian.formats.gltf import write_gltf
from vitruvian.render.surface import project, visible_surface

ROOT = Path(__file__).parents[2]
THREE = Path(os.environ.get("VITRUVIAN_THREE") or ROOT / "node_modules" / "three")
CHROMIUM = (
    os.environ.get("VITRUVIAN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZE, FOCAL = (480, 640), 700.0
TO_CAMERA = np.array([1.0, -1.0, -1.0])  # from the file's axes, seen by three.js' camera along -z, to OpenCV's
MARKS = {
    "left_wrist": (255, 0, 0),
    "right_wrist": (0, 255, 0),
    "left_ankle": (0, 0, 255),
    "right_ankle": (255, 0, 255),
    "head": (0, 255, 255),
}


def walk(count: int = 31):
    """A second and a half of walking towards the camera, at uneven times: model, parameters and times."""
    model = load_compact()
    times = np.cumsum(np.concatenate([[0.0], np.random.default_rng(0).uniform(0.03, 0.07, count - 1)]))
    pose = np.zeros((count, model.num_joints, 3), np.float32)
    phase = 2 * np.pi * times
    for side, sign in (("left", 1), ("right", -1)):
        pose[:, model.joint_names.index(f"{side}_hip"), 0] = -0.5 * sign * np.sin(phase)
        pose[:, model.joint_names.index(f"{side}_knee"), 0] = 0.5 + 0.4 * sign * np.cos(phase)
        pose[:, model.joint_names.index(f"{side}_shoulder"), 0] = 0.6 * sign * np.sin(phase)
    pose[:, 0, 1] = 0.4 * np.sin(phase)
    translation = np.stack([0.2 * np.sin(phase), 0.02 * np.cos(2 * phase), -3.2 + 0.4 * times], axis=1)
    smile = np.zeros((count, model.num_expression), np.float32)
    smile[:, model.expression_names.index("jawOpen")] = 0.5 + 0.5 * np.sin(phase)
    return model, BodyParameters(pose, np.zeros((count, model.num_shape), np.float32), smile, translation.astype(np.float32)), times


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """A page with the walk loaded: (page, what it says about the file, posed bodies, times)."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium, or VITRUVIAN_CHROMIUM=path")
    if not (THREE / "build" / "three.module.js").is_file():
        pytest.skip("needs three.js: npm install three, or VITRUVIAN_THREE=node_modules/three")
    model, parameters, times = walk()
    take = tmp_path_factory.mktemp("take") / "take.glb"
    write_gltf([body_figure(model, parameters, times, "walker")], take)
    bodies = model.forward(parameters.pose, parameters.shape, parameters.expression, parameters.translation)

    def answer(route) -> None:
        path = route.request.url.removeprefix("http://take.test/")
        file = {"": Path(__file__).with_name("viewer.html"), "take.glb": take}.get(path, THREE / path.removeprefix("three/"))
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        route.fulfill(path=file, content_type=kind) if file.is_file() else route.fulfill(status=404)

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.route("**/*", answer)
        page.goto("http://take.test/")
        page.wait_for_function("window.ready")
        about = page.evaluate("load()")
        yield page, about, bodies, times
        browser.close()


def test_the_file_has_one_clip_of_the_takes_length_and_every_bone(viewer):
    _, about, _, times = viewer
    assert about["clips"] == [["take", pytest.approx(times[-1], abs=1e-5)]]
    assert set(about["bones"]) == set(load_compact().joint_names)
    assert about["skinned"] >= 1


def test_bones_are_where_the_takes_joints_are_at_every_key(viewer):
    page, _, bodies, times = viewer
    for i in range(len(times) - 1):  # at its very end a looping clip is back at the start
        positions = page.evaluate("time => positionsAt(time)", float(times[i]))
        found = np.array([positions[name] for name in load_compact().joint_names])
        np.testing.assert_allclose(found, bodies.joints[i], atol=1e-4, err_msg=f"key {i}")


def test_between_keys_bones_are_between(viewer):
    page, _, bodies, times = viewer
    positions = page.evaluate("time => positionsAt(time)", float(times[8] + times[9]) / 2)
    found = np.array([positions[name] for name in load_compact().joint_names])
    np.testing.assert_allclose(found, (bodies.joints[8] + bodies.joints[9]) / 2, atol=0.01)


@pytest.mark.parametrize("key", [4, 13, 22])
def test_screenshot_shows_bones_and_body_where_the_take_has_them(viewer, key, tmp_path):
    import cv2

    page, _, bodies, times = viewer
    colors = {name: "#{:02x}{:02x}{:02x}".format(*color) for name, color in MARKS.items()}
    intrinsics = np.array([[FOCAL, 0, (SIZE[0] - 1) / 2], [0, FOCAL, (SIZE[1] - 1) / 2], [0, 0, 1]])
    page.evaluate("values => show(...values)", [float(times[key]), *SIZE, FOCAL, colors])
    marked = cv2.cvtColor(cv2.imdecode(np.frombuffer(page.screenshot(path=tmp_path / "marked.png"), np.uint8), 1), cv2.COLOR_BGR2RGB)
    joints = project(bodies.joints[key] * TO_CAMERA, intrinsics)
    for name, color in MARKS.items():
        rows, columns = np.nonzero((np.abs(marked.astype(int) - color) < 12).all(-1))
        assert len(rows) > 20, f"no ball at {name}"
        middle = np.array([columns.mean(), rows.mean()])
        assert np.linalg.norm(middle - joints[load_compact().joint_names.index(name)]) < 1.0, name
    page.evaluate("values => show(...values)", [float(times[key]), *SIZE, FOCAL, {}])
    plain = cv2.imdecode(np.frombuffer(page.screenshot(path=tmp_path / "plain.png"), np.uint8), 1)
    vertices = bodies.vertices[key] * TO_CAMERA
    surface = visible_surface(project(vertices, intrinsics), vertices[:, 2], load_compact().faces, SIZE)
    ours = np.zeros(plain.shape[:2], bool)
    height, width = surface.face.shape
    ours[surface.top : surface.top + height, surface.left : surface.left + width] = surface.face >= 0
    theirs = (plain < 250).any(-1)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98
