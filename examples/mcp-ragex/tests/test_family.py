"""The files that the images are made from agree with each other."""

import re
import tomllib
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
LISTS = ("cpu-amd64", "cpu-arm64", "cuda")


def pins(name: str) -> dict[str, str]:
    """Package → version of a requirement file."""
    text = (TOP / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, re.MULTILINE))


def steps(dockerfile: Path) -> str:
    """A Dockerfile without its comments."""
    return re.sub(r"(?m)^#.*\n", "", dockerfile.read_text())


class Requirements(unittest.TestCase):
    def test_every_line_is_a_pin_with_a_digest(self) -> None:
        pair = r"[A-Za-z0-9_.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}\n"
        for name in LISTS:
            text = (TOP / "requirements" / f"{name}.txt").read_text()
            self.assertRegex(re.sub(r"(?m)^#.*\n", "", text), rf"\A\n(?:{pair})+\Z", name)

    def test_members_agree_on_every_version_they_share(self) -> None:
        amd64, arm64, cuda = map(pins, LISTS)
        self.assertEqual(amd64, arm64)
        cuda["onnxruntime"] = cuda.pop("onnxruntime-gpu")
        self.assertEqual(amd64, {name: version for name, version in cuda.items() if name in amd64})
        self.assertTrue(all(name.startswith("nvidia-") for name in cuda.keys() - amd64.keys()))


class Dockerfiles(unittest.TestCase):
    def test_the_plan_names_files_that_exist(self) -> None:
        plan = tomllib.loads((TOP / "anyarch.toml").read_text())
        files = [tier["dockerfile"] for flavor in plan["flavor"].values() for tier in flavor["tiers"]]
        for flavor in plan["flavor"].values():
            for override in flavor.get("on", {}).values():
                files += [tier["dockerfile"] for tier in override["tier"].values()]
        self.assertEqual(len(set(files)), 7)
        for file in files:
            self.assertTrue((TOP / file).is_file(), file)

    def test_members_install_their_programs_and_packages_by_the_same_step(self) -> None:
        step = re.compile(r"(?m)^RUN (?!test )(?:.*\\\n)*.*\n")
        for tier in ("base", "ml"):
            found = {
                flavor: step.findall(steps(TOP / f"docker/{flavor}/Dockerfile.{tier}"))
                for flavor in ("cpu", "arm64", "cuda")
            }
            self.assertEqual(len(found["cpu"]), 1)
            self.assertEqual(found["cpu"], found["arm64"])
            self.assertEqual(found["cpu"], found["cuda"])

    def test_the_ml_tier_takes_in_its_own_list_only(self) -> None:
        for flavor, source in (("cpu", "cpu-${TARGETARCH:-amd64}"), ("arm64", "cpu-arm64"), ("cuda", "cuda")):
            copies = re.findall(r"(?m)^(?:COPY|ADD) (\S+)", steps(TOP / f"docker/{flavor}/Dockerfile.ml"))
            self.assertEqual(copies, [f"requirements/{source}.txt"])


if __name__ == "__main__":
    unittest.main()
