"""The glossary: one sentence for each term, found where the term occurs."""

import pytest

from cifar_core import glossary


@pytest.mark.parametrize("term", glossary.TERMS)
def test_a_definition_is_one_sentence(term: str) -> None:
    definition = glossary.TERMS[term]
    assert definition[0].isupper() and definition.endswith(".") and ". " not in definition
    assert len(definition.split()) <= 30


def test_terms_are_found_in_any_case_as_whole_words() -> None:
    said = glossary.explain("Validation falls after three Epochs; **Width α** is 0.5.")
    assert said is not None
    assert [word for word in glossary.TERMS if f"**{word}**" in said] == ["epoch", "validation", "width α"]
    assert glossary.explain("the latest heading") is None


def test_a_term_within_a_longer_one_is_not_explained() -> None:
    term = "McNemar's test"
    assert glossary.explain(f"{term}, exact") == f"**{term}**: {glossary.TERMS[term]}"
    said = glossary.explain("+2.1 σ; the expected calibration error of its logits")
    assert said is not None
    assert [word for word in glossary.TERMS if f"**{word}**" in said] == ["expected calibration error", "logits", "σ"]
