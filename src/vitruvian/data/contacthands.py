"""ContactHands: hands and what they touch (Narasimhaswamy et al., NeurIPS 2020).

PASCAL VOC's layout [mem]: an .xml file per picture, whose objects called "hand" have a "bndbox" and a "contact_state" of four numbers
(`codecs.association.CONTACTS`: nothing, oneself, somebody else, a thing), 0 no, 1 yes, 2 unsure. No copy was at hand: names of elements are
from memory. The release has hands alone, which is enough to judge by; to train on (card bpjdet.md section 2) people are needed too: objects
called "person" or "body", whose "body_id" their hands share, as in BodyHands [ours].
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from vitruvian.codecs.association import CONTACT_HANDS, CONTACTS
from vitruvian.data.layout import below, find
from vitruvian.data.parts import FAR, PartDataset, PartPicture, part_picture
from vitruvian.errors import FormatError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LAYOUT = "ImageSets/Main/{train,test}.txt, Annotations/*.xml, JPEGImages/*.jpg"
_MAX_LIST, _MAX_XML = 1 << 26, 1 << 22
_KNOWN = {"0": 0.0, "1": 1.0, "2": np.nan}


def contacthands(folder: str | Path, split: Literal["train", "test"] = "test") -> PartDataset:
    """ContactHands' hands with what they touch. Raises FormatError where the annotations are missing."""
    listed = find(folder, "ContactHands", LAYOUT, f"ImageSets/Main/{split}.txt", f"ImageSets/{split}.txt")
    return PartDataset("contacthands", CONTACT_HANDS.classes, "research use only", lambda: _read(listed, Path(folder)))


def _read(listed: Path, folder: Path) -> Iterator[PartPicture]:
    for name in _text(listed, _MAX_LIST).split("\n"):
        if name.strip():
            path = below(folder / "Annotations", f"{name.strip()}.xml")
            yield _picture(path, below(folder / "JPEGImages", f"{name.strip()}.jpg"), name.strip())


def _text(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise FormatError(f"{path} is longer than {limit} bytes; it is no file of ContactHands")
        return data.decode("utf-8")
    except OSError as error:
        raise FormatError(f"can't read {path}: {error.strerror or error}; fetch the annotations again") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no text; fetch the annotations again") from error


def _picture(path: Path, image: Path, name: str) -> PartPicture:
    from xml.etree import ElementTree

    text = _text(path, _MAX_XML)
    if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
        raise FormatError(f"{path} defines entities, which no annotation needs; fetch it again")
    try:
        objects = ElementTree.fromstring(text).findall("object")
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no readable XML ({error}); fetch it again") from error
    kinds = [(one.findtext("name") or "").strip().lower() for one in objects]
    bodies = [one for one, kind in zip(objects, kinds, strict=True) if kind in ("person", "body")]
    row_of = {body.findtext("body_id"): row for row, body in enumerate(bodies) if body.findtext("body_id")}
    hands = [one for one, kind in zip(objects, kinds, strict=True) if kind == "hand"]
    boxes = np.array([_box(body, path) for body in bodies]).reshape(-1, 4)
    parts = [(_box(hand, path), 1, row_of.get(hand.findtext("body_id"), -1)) for hand in hands]
    contacts = np.array([_contacts(hand, path) for hand in hands]).reshape(-1, len(CONTACTS))
    return part_picture(image, name, (0, 0), boxes, parts=parts, contacts=contacts)


def _box(element: Element, path: Path) -> Float[np.ndarray, " 4"]:
    try:
        box = np.array([float(element.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")])
    except ValueError as error:
        raise FormatError(f"{path}: an object has no bndbox of four numbers ({error}); it is no file of ContactHands") from error
    if not (np.abs(box) < FAR).all():
        raise FormatError(f"{path}: a box lies beyond any picture; the file is damaged")
    return np.array([*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:])])


def _contacts(element: Element, path: Path) -> list[float]:
    """1 yes, 0 no, NaN unsure or not said."""
    said = element.findtext("contact_state")
    if said is None:
        return [np.nan] * len(CONTACTS)
    states = [word.strip() for word in said.split(",")]
    if len(states) != len(CONTACTS) or not all(word in _KNOWN for word in states):
        raise FormatError(f"{path}: a contact_state is {said[:40]!r}, not {len(CONTACTS)} times 0, 1 or 2; the file is damaged")
    return [_KNOWN[word] for word in states]
