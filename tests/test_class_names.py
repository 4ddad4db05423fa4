"""The rule that no class name stands for two things, kept by the house and told in sentences."""

from pathlib import Path

from security import class_names


def test_no_class_name_is_given_twice() -> None:
    assert class_names.found() == []


def test_a_name_that_two_classes_have_is_told_with_both_places(tmp_path: Path) -> None:
    for file, text in {
        "canonical/people.py": "class Person: ...\n",
        "ironbridge/console/access.py": "def made():\n    class Person: ...\n\nclass Visit: ...\n",
        "flows/dfe_csc/tests/test_child.py": "class Visit: ...\n",
        "adapters/port.py": "class Page: ...\n",
        "flows/port.py": "class Page: ...\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, "utf-8")
    assert class_names.found(tmp_path) == [
        "adapters/port.py:1, flows/port.py:1: `Page` names 2 classes",
        "canonical/people.py:1, ironbridge/console/access.py:2: `Person` names 2 classes",
    ]
