"""botocore as the judge of funaya-wire: it writes the requests that must be read, and reads the answers we write.

    FUNAYA_BLESS=1 cargo test --profile ci -p funaya-wire     # writes data/*.answers.jsonl
    python3 crates/funaya-wire/tests/judge.py                 # writes data/*.requests.jsonl and judges the answers

Needs the release of botocore that `xtask/src/codegen/mod.rs` pins. A line of `requests` is [operation, body, what
Rust's Debug shows of the request read from it]; a line of `answers` is [operation, body].
"""

import datetime
import json
import pathlib
import re
import sys
import urllib.parse

import botocore
import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize

HERE = pathlib.Path(__file__).resolve().parent
CODEGEN = HERE.parents[2] / "xtask/src/codegen/mod.rs"
LISTS = HERE.parents[2] / "xtask/src/codegen/services.rs"
MODELS = {"iam": "2010-05-08", "sts": "2011-06-15", "organizations": "2016-11-28"}
HARD = '{"a": "b&c=d+e%%20;ü %d"}'


def main():
    pinned = re.search(r'BOTOCORE: &str = "(.*)"', CODEGEN.read_text())[1]
    if botocore.__version__ != pinned:
        sys.exit(f"botocore is {botocore.__version__}, not {pinned}")
    loader = botocore.loaders.Loader()
    for name, version in MODELS.items():
        model = botocore.model.ServiceModel(loader.load_service_model(name, "service-2", version), name)
        requests(name, model)
        if model.metadata["protocol"] == "query":
            answers(name, model)


def operations(module):
    """The list in services.rs."""
    block = LISTS.read_text().split(f'module: "{module}"')[1].split("],")[0]
    return re.findall(r'^ {8}"(\w+)",$', block, re.M)


def lines(name, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / "data" / name).write_text(text)


def requests(name, model):
    rows = []
    serializer = botocore.serialize.create_serializer(model.metadata["protocol"], include_validation=True)
    for operation in operations(name):
        operation = model.operation_model(operation)
        if operation.input_shape is None:
            continue
        for full in (False, True):
            value, shown = Maker(full).make(operation.input_shape)
            body = serializer.serialize_to_request(value, operation)["body"]
            body = urllib.parse.urlencode(body) if isinstance(body, dict) else body.decode()
            rows.append([operation.name, body, shown])
    lines(f"{name}.requests.jsonl", rows)


class Maker:
    """A request that keeps its constraints: all members, or only those required."""

    def __init__(self, full):
        self.full = full
        self.count = 0

    def make(self, shape):
        self.count += 1
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape)
        if kind == "list":
            # Ten and more, for their order; but short fixtures.
            length = 11 if shape.member.type_name == "string" else 2
            items = [self.make(shape.member) for _ in range(min(length, shape.metadata.get("max", length)))]
            return [value for value, _ in items], "[" + ", ".join(shown for _, shown in items) + "]"
        if kind == "integer":
            number = shape.metadata.get("min", 0) + self.count % 3
            return number, str(number)
        if kind == "boolean":
            return self.count % 2 == 0, "true" if self.count % 2 == 0 else "false"
        if shape.metadata.get("enum"):
            word = shape.metadata["enum"][self.count % len(shape.metadata["enum"])]
            return word, pascal(word)
        text = self.text(shape)
        hidden = shape.metadata.get("sensitive") or shape.name == "tokenType"
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return text, "Hidden(…)" if hidden else f'"{escaped}"'

    def structure(self, shape):
        values, fields = {}, []
        for name, member in shape.members.items():
            required = name in shape.required_members
            if not required and not self.full:
                fields.append(f"{field(name)}: None")
                continue
            values[name], shown = self.make(member)
            fields.append(f"{field(name)}: {shown if required else f'Some({shown})'}")
        name = shape.name[0].upper() + shape.name[1:]
        return values, f"{name} {{ {', '.join(fields)} }}" if fields else name

    def text(self, shape):
        """The first text that fits."""
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 1000)
        pattern = shape.metadata.get("pattern")
        # `re` has no classes of Unicode.
        pattern = pattern and re.compile(pattern.replace(r"\p{L}\p{Z}\p{N}", "A-Za-z0-9ü東 "), re.A)
        n = self.count
        texts = [HARD % n, f"ü東 {n}", f"/a{n}/", f"a{n}@b.cc", f"a{n}", f"v{n}", f"{n:06}"]
        texts += [f"AB{n:014}", f"AB{n:020}", f"arn:aws:iam::1:x/{n:09}"]
        texts += [f"r-{n:04}", f"ou-{n:04}-{n:08}", f"p-{n:08}", f"car-{n:08}", f"{n:012}", "x" * least]
        for text in texts:
            if least <= len(text) <= most and (pattern is None or pattern.fullmatch(text)):
                return text
        sys.exit(f"no text for {shape.name}: {shape.metadata}")


def field(name):
    """As `names.rs` has it."""
    name = re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^A-Z])(?=[A-Z])", "_", name).lower()
    return name


def pascal(word):
    shouting = word.upper() == word
    parts = re.split(r"[^A-Za-z0-9]", word)
    return "".join(part.capitalize() if shouting else part[:1].upper() + part[1:] for part in parts)


def answers(name, model):
    parser = botocore.parsers.create_parser("query")
    wanted = operations(name)
    rows = [json.loads(line) for line in (HERE / "data" / f"{name}.answers.jsonl").read_text().split("\n") if line]
    if [operation for operation, _ in rows] != wanted:
        sys.exit(f"{name}: the answers are not those of the listed operations")
    for operation, body in rows:
        shape = model.operation_model(operation).output_shape
        found = parser.parse({"status_code": 200, "headers": {}, "body": body.encode()}, shape)
        metadata = found.pop("ResponseMetadata")
        if metadata["RequestId"] != "8d6a7e6c-0000-4000-8000-000000000000":
            sys.exit(f"{name} {operation}: {metadata}")
        want = sample(shape, [0]) if shape else {}
        if found != want:
            sys.exit(f"{name} {operation}:\nfound {found}\nwant  {want}\nin {body}")
        # The names of the elements around the result, which botocore does not look at.
        root = f'<{operation}Response xmlns="{model.metadata["xmlNamespace"]}"><'
        inner = f"{operation}Result>" if shape else "ResponseMetadata>"
        if not body.startswith(root + inner):
            sys.exit(f"{name} {operation}: {body}")
    print(f"{name}: {len(rows)} answers are as botocore wants them")


def sample(shape, count):
    """The same as `src/query/sample.rs` makes."""
    kind = shape.type_name
    if kind == "structure":
        return {name: sample(member, count) for name, member in shape.members.items()}
    if kind == "list":
        return [sample(shape.member, count), sample(shape.member, count)]
    if kind == "map":
        return dict([(sample(shape.key, count), sample(shape.value, count)) for _ in range(2)])
    count[0] += 1
    n = count[0]
    if kind in ("integer", "long"):
        return n
    if kind == "boolean":
        return n % 2 == 1
    if kind == "timestamp":
        return datetime.datetime.fromtimestamp(n * 1_000_000, datetime.timezone.utc)
    if shape.metadata.get("enum"):
        return shape.metadata["enum"][n % len(shape.metadata["enum"])]
    text = "<1 & \"ü\">\r\n\t'😀' ]]>" if n == 1 else f"s{n}"
    return text.encode() if kind == "blob" else text


main()
