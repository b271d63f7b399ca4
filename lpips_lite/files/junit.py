"""Verdicts as JUnit XML, which continuous integration shows as tests: one test case for each pair.

The sink of `--junit`. junitparser makes the elements; this module decides what they contain.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from lpips_lite.files.heatmap import Heatmaps
from lpips_lite.files.names import path_text, printable
from lpips_lite.files.pairing import Pair
from lpips_lite.files.results import Row, write_text
from lpips_lite.files.verdicts import ALONE, ERROR, FAILED, PASSED, UNJUDGED, Verdicts, judge

if TYPE_CHECKING:
    import junitparser

    from lpips_lite.files.decoding import Decoded

SUITE = "compare-images"
SKIPPED = "skipped"  # state of test cases, not of pairs
OF_ALL = "all pairs"  # class of the test cases for rules that judge all pairs together


def check_junit(path: Path, said: str) -> None:
    """Check the name of a file for JUnit XML, and that junitparser is installed.

    Args:
        path: Path of the file.
        said: Name of the argument in messages.

    Raises:
        ValueError: If the suffix is neither .xml nor empty.
        ImportError: If junitparser is not installed.
    """
    if path.suffix.lower() not in (".xml", "") or path == Path("-"):
        raise ValueError(f"{said} {printable(path)}: expected a file like junit.xml")
    if find_spec("junitparser") is None:
        raise ImportError(f'{said} needs junitparser: pip install "lpips_lite[junit]"')


class JUnit:
    """The sink that writes a test case for each pair, each image without a partner, and each rule for all pairs.

    Pairs that crossed a rule are failures, and pairs with an error are errors. Pairs that the run did not reach are
    skipped. Images without a partner are errors, or skipped if they are allowed. A test case is made when its row
    comes; the file is written at the end.

    Args:
        path: Path of the file; links, pipes and devices are written through.
        pairs: All pairs, in the order of rows.
        signatures: Signature of each metric.
        verdicts: Another sink, which finishes before this one.
        allowed: Whether images without a partner are allowed.
        heatmaps: The sink that draws a pair before its row comes, if there is one.
    """

    def __init__(
        self,
        path: Path,
        *,
        pairs: Sequence[Pair],
        signatures: Mapping[str, str],
        verdicts: Verdicts,
        allowed: bool,
        heatmaps: Heatmaps | None,
    ) -> None:
        self.path, self.signatures, self.verdicts = path, signatures, verdicts
        self.allowed, self.heatmaps = allowed, heatmaps
        self._uses = Counter(pair.image for pair in pairs)
        self._left = iter(pairs)
        self._cases: list[junitparser.TestCase] = []

    def take(self, row: Row, decoded: Decoded | None) -> None:
        """Make the test case of a row."""
        for pair in self._left:
            if (path_text(pair.reference), path_text(pair.image)) == (row["reference"], row["image"]):
                self._cases.append(self._of_pair(pair, row))
                return
            self._cases.append(self._not_reached(pair))
        raise ValueError(f"row of {row['reference']} and {row['image']}: expected rows of the pairs, in their order")

    def finish(self) -> None:
        """Write the file.

        Raises:
            OSError: If it cannot be written.
        """
        import junitparser

        suite = junitparser.TestSuite(SUITE)
        for name, signature in self.signatures.items():
            suite.add_property(printable(name), printable(signature))
        for rule in self.verdicts.rules:
            suite.add_property("rule", printable(str(rule)))
        left = map(self._not_reached, self._left)
        suite.add_testcases([*self._cases, *left, *self._of_those_alone(), *self._of_rules()])
        document = junitparser.JUnitXml()
        document.add_testsuite(suite)
        document.write(file := io.BytesIO())
        write_text(self.path, file.getvalue().decode() + "\n")

    def _of_pair(self, pair: Pair, row: Row) -> junitparser.TestCase:
        verdict = judge(row, self.verdicts.rules)
        lines = [*filter(None, [verdict.error]), *map(str, verdict.crossed)]
        case = self._case(pair, verdict.state, lines)
        said = [f"reference: {row['reference']}", f"image: {row['image']}"]
        said += [f"{name} = {row[name]:.7g}" for name in self.signatures if row[name] is not None]
        if self.heatmaps and (not row["error"] or self.heatmaps.has(pair, row["content"])):
            said.append(f"[[ATTACHMENT|{self.heatmaps.files.path(pair)}]]")  # as GitLab and Jenkins find it
        case.system_out = "\n".join(map(printable, said))
        return case

    def _case(self, pair: Pair, state: str, lines: Sequence[str]) -> junitparser.TestCase:
        """Return a test case, named as the image; if the image is in several pairs, the name of the pair is added."""
        name = pair.image.name if self._uses[pair.image] == 1 else f"{pair.image.name} ({pair.name})"
        return _case(pair.image.parent, name, state, lines)

    def _not_reached(self, pair: Pair) -> junitparser.TestCase:
        return self._case(pair, SKIPPED, ["not compared: the run ended before"])

    def _of_those_alone(self) -> Iterator[junitparser.TestCase]:
        for state, paths in self.verdicts.alone.items():
            for path in paths:
                lines = [f"{state}: {ALONE[state]}"]
                yield _case(path.parent, path.name, SKIPPED if self.allowed else ERROR, lines, state)

    def _of_rules(self) -> Iterator[junitparser.TestCase]:
        for found in self.verdicts.of_rules():
            if found.state == UNJUDGED:
                yield _case(OF_ALL, str(found.rule), ERROR, [f"{UNJUDGED}: no pair has a number"])
            elif found.value is not None:
                yield _case(OF_ALL, str(found.rule), found.state, [f"it is {found.value:.7g}"])


def _case(
    group: PurePath | str, name: str, state: str, lines: Sequence[str], kind: str | None = None
) -> junitparser.TestCase:
    """Return a test case of a group; the lines say why its state is not "passed", and `kind` is the type of reason."""
    import junitparser

    case = junitparser.TestCase(name=printable(name), classname=printable(str(group)))
    if state != PASSED:
        element = {FAILED: junitparser.Failure, ERROR: junitparser.Error}.get(state, junitparser.Skipped)
        result = element("; ".join(map(printable, lines)), kind or state)
        result.text = "\n".join(map(printable, lines))
        case.result = [result]
    return case
