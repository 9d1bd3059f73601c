"""YAML without its traps.

A key that is given twice has its last value, `no` is a truth value and `.nan` a number: each is
read without a word as something else than was meant. Here each is refused.
"""

import math
from pathlib import Path

import yaml


class Loader(yaml.SafeLoader):
    """Plain data, of which every key is text and says its value once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                raise refusal(f"the key {name!r} is not text: put it in quotes", key)
            if name in seen:
                raise refusal(f"the key {name!r} is given twice", key)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        value = self.construct_yaml_bool(node)
        if node.value.lower() not in ("true", "false"):
            raise refusal(
                f"YAML reads {node.value} as {str(value).lower()}: put it in quotes if it is a "
                f"name, or write {str(value).lower()}",
                node,
            )
        return value

    def construct_finite(self, node: yaml.ScalarNode) -> float:
        value = self.construct_yaml_float(node)
        if not math.isfinite(value):
            raise refusal(f"{node.value} is not a finite number", node)
        return value


Loader.add_constructor("tag:yaml.org,2002:bool", Loader.construct_truth)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_finite)


def refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def read_yaml(path: Path) -> dict:
    """The mapping that a YAML file holds.

    Raises:
        ValueError: it cannot be read, is not YAML, not a mapping, or falls into one of the traps.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = " ".join(filter(None, (error.context, error.problem)))
        raise ValueError(f"{path}{line}: {problem}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # not UTF-8, say
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ValueError(f"{path}: {found}; expected keys with values")
    return content
