"""Reads template.yaml as CloudFormation does: short forms of functions become their long ones."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FUNCTION_TYPES = ("AWS::Serverless::Function", "AWS::Lambda::Function")


class TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's tags; a key that stands twice is an error instead of the last one winning."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} stands twice")
        return super().construct_mapping(node, deep)


def construct_function(loader, suffix, node):
    """`!GetAtt A.B` is {"Fn::GetAtt": ["A", "B"]}, `!Ref A` is {"Ref": "A"}, `!Sub x` is {"Fn::Sub": "x"}."""
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


TemplateLoader.add_multi_constructor("!", construct_function)


def read_template(path: Path = ROOT / "template.yaml") -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), TemplateLoader)  # noqa: S506: a SafeLoader


def resources_of(template: dict, *types: str) -> dict[str, dict]:
    """The resources of these types, by logical id."""
    return {name: found for name, found in template["Resources"].items() if found["Type"] in types}


def functions_of(template: dict) -> dict[str, dict]:
    return resources_of(template, *FUNCTION_TYPES)


def render(value) -> str:
    """A string, or a function that gives one, in the notation of `Fn::Sub`.

    Anything else is refused: an `Fn::If`, above all, would show one branch and hide the other.
    """
    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case {"Ref": str(name), **rest} if not rest:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)], **rest} if not rest:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": str(text), **rest} if not rest:
            return text
    raise ValueError(f"expected a string, Ref, GetAtt or Sub, found {value!r}")
