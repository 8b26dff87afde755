"""Recipes: what is understood, and what is refused in one line."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from vitruvian.errors import FormatError, VitruvianError  # noqa: E402
from vitruvian.train.recipe import on_data, read_recipe, shortened  # noqa: E402

HEAD = 'name = "a"\nsystem = "rtmpose"\n'
STAGE = '[[stages]]\nname = "s"\nvariant = "nano"\nschedule = { steps = 5 }\n'


def read(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    return read_recipe(tmp_path / "r.toml")


def test_defaults_and_nested_tables(tmp_path):
    recipe = read(tmp_path, HEAD + '[data]\naugmentation = "rtmw"\n[[data.sources]]\nkind = "coco"\nfolder = "x"\nweight = 2\n' + STAGE)
    assert recipe.stages[0].schedule.steps == 5 and recipe.stages[0].lesson == "labels"
    assert recipe.data.sources[0].weight == 2.0 and recipe.skeleton.name == "coco-wholebody-133"
    assert on_data(recipe, "y").data.sources[0].kind == "coco-wholebody"
    assert shortened(recipe, 3, 10).stages[0].schedule.steps == 3 and shortened(recipe, 9).stages[0].schedule.steps == 5


@pytest.mark.parametrize(
    "text,words",
    [
        (HEAD, "stages is missing"),
        (HEAD + STAGE + "batchsize = 3\n", "batchsize is not known"),
        (HEAD + STAGE + 'batch = "3"\n', "must be of type int"),
        (HEAD + STAGE + "batch = true\n", "must be of type int"),
        (HEAD + STAGE + 'lesson = "third"\n', "choose one of 'labels'"),
        (HEAD + STAGE + 'lesson = "first"\n', "need one"),
        (HEAD + STAGE + 'teacher = "t"\n', "has no teacher"),
        (HEAD + STAGE + 'lesson = "roots"\n', "of selfpose3d"),
        (HEAD.replace("rtmpose", "selfpose3d") + STAGE, "of selfpose3d"),
        (HEAD + STAGE + STAGE, "different names"),
        (HEAD + 'keypoints = "nobody-3"\n' + STAGE, "no keypoint set"),
        (HEAD.replace("rtmpose", "yolo") + STAGE, "system is 'yolo'"),
        (HEAD.replace('"a"', '"../a"') + STAGE, "letters, digits"),
        (HEAD.replace("rtmpose", "dsta") + STAGE + 'lesson = "first"\nteacher = "t"\n', "only rtmpose"),
        (HEAD + "data = 3\n" + STAGE, "data must be a table"),
        (HEAD + 'stages = "x"\n', "must be a list"),
        ("name =", "no TOML"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin1"), "no TOML"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path, text, words):
    with pytest.raises(FormatError, match=words) as error:
        read(tmp_path, text)
    assert "r.toml" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FormatError, match="can't read"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_our_recipes_are_recipes(path):
    recipe = read_recipe(path)
    stages = {"dwpose-t": 3, "dwpose-t-packaged": 2, "selfpose3d-nano": 3}
    assert on_data(recipe, "y").name == path.stem and len(recipe.stages) == stages.get(path.stem, 1)


@pytest.mark.parametrize("limits", [{"steps": 0}, {"steps": -1}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_no_steps_and_no_seconds_are_refused(tmp_path, limits):
    recipe = read(tmp_path, HEAD + STAGE)
    with pytest.raises(VitruvianError, match="teach nothing: give"):
        shortened(recipe, **limits)
