"""Checks of what is installed: Python, the libraries' versions, TRL's insides, the video decoders."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from trlt.commands.doctor_checks._check import Check, State
from trlt.files.bounded_json import read_json

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAMED = ("torch", "transformers", "trl", "accelerate", "peft", "av")
"""Libraries whose versions are told when all is well."""
CODECS: Mapping[str, str] = {
    "h264": "most data sets",
    "hevc": "videos of phones",
    "vp9": "videos from YouTube (.webm)",
    "av1": "newer videos from YouTube",
    "mpeg4": "old .avi files",
}
"""Codec -> where the data sets have it."""
AV1_DECODERS = ("libdav1d", "libaom-av1", "libgav1")
"""FFmpeg's own `av1` is only a frame for decoders in hardware."""


def python_check(version: str, wanted: str, platform: str) -> Check:
    """Whether the interpreter and the system will do.

    Args:
        version: Of Python, as `3.11.9`.
        wanted: The package's `Requires-Python`.
        platform: `sys.platform`.
    """
    from packaging.specifiers import SpecifierSet

    found = f"{version} on {platform}"
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Check("Python", "fault", f"{found}; trlt needs {wanted}", "make a virtual environment with a newer Python")
    if platform == "win32":
        return Check("Python", "fault", f"{found}: decoding processes need POSIX", "use Linux, or WSL")
    if platform != "linux":
        return Check("Python", "warning", f"{found}; trlt is tested on Linux", "expect to find faults of your own")
    return Check("Python", "ok", found)


def library_checks(requirements: Iterable[str], installed: Mapping[str, str]) -> list[Check]:
    """Whether every library is there in a version that fits; one finding for each that isn't.

    Args:
        requirements: As `importlib.metadata.requires` gives them; those of extras count where the library is installed.
        installed: Name in lower case -> version.
    """
    from packaging.requirements import Requirement

    findings: list[Check] = []
    fitting: set[str] = set()
    extras: list[Requirement] = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            extras.append(requirement)
            continue
        version = installed.get(_plain(requirement.name))
        if version is None:
            findings.append(Check(requirement.name, "fault", "isn't installed", _install(requirement)))
        elif not requirement.specifier.contains(version, prereleases=True):
            findings.append(_other(requirement, version))
        else:
            fitting.add(_plain(requirement.name))
    for requirement in {str(r.name): r for r in extras}.values():
        version = installed.get(_plain(requirement.name))
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            findings.append(_other(requirement, version))
    shown = ", ".join(f"{name} {installed[name]}" for name in NAMED if name in fitting)
    if not findings:
        return [Check("libraries", "ok", f"all {len(fitting)} fit together: {shown}")]
    return findings


def tried() -> list[dict[str, Any]]:
    """What was run with which versions, as `tests/versions.py` has noted it; see docs/versions.md."""
    found: list[dict[str, Any]] = read_json(Path(__file__).with_name("versions.json"), remedy="install trlt again")
    return found


def newest_tried(library: str) -> str:
    """The newest version of a library with which trlt was tried."""
    from packaging.version import Version

    return str(max(Version(entry["versions"][library]) for entry in tried()))


def tried_checks(installed: Mapping[str, str]) -> list[Check]:
    """A warning for each library whose version fits, but that trlt wasn't tried with.

    Args:
        installed: Name in lower case -> version.
    """
    found = []
    for name in sorted(tried()[0]["versions"]):
        versions = {entry["versions"][name] for entry in tried()}
        # torch's builds for one device or another are the same version.
        version = installed.get(name, "").partition("+")[0]
        if version and version not in versions:
            words = f"{version}; trlt was tried with {' and '.join(sorted(versions))} only"
            remedy = f"none is needed; if in doubt, pip install '{name}=={newest_tried(name)}'"
            found.append(Check(name, "warning", words, remedy))
    return found


def installed_versions(requirements: Iterable[str]) -> dict[str, str]:
    """The version of each required library that is installed, by its name in lower case."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    for requirement in map(Requirement, requirements):
        try:
            found[_plain(requirement.name)] = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _other(requirement: Requirement, version: str) -> Check:
    optional = requirement.marker is not None
    found = f"{version}; trlt needs {requirement.specifier}" + (" (optional)" if optional else "")
    return Check(requirement.name, "warning" if optional else "fault", found, _install(requirement))


def _install(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"pip install -U '{requirement.name}{extras}{requirement.specifier}'"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def trl_check(misfits: Sequence[str], unknown: Sequence[str], overridden: int) -> Check:
    """Whether TRL's trainer is the one that trlt builds on.

    Args:
        misfits: What it has otherwise than trlt overrides it.
        unknown: Its settings that trlt doesn't know.
        overridden: How many methods are.
    """
    remedy = f"pip install 'trl=={newest_tried('trl')}', with which trlt was tried"
    if misfits:
        return Check("TRL's trainer", "fault", "; ".join(misfits), remedy)
    if unknown:
        return Check("TRL's trainer", "warning", f"settings that trlt doesn't know: {', '.join(unknown)}", remedy)
    return Check("TRL's trainer", "ok", f"all {overridden} methods that are overridden are there, and all settings are known")


def decoder_checks(av: ModuleType) -> list[Check]:
    """Which codecs this build of PyAV decodes."""
    versions = av.library_versions
    build = f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"
    build += " (" + ", ".join(f"{name} {'.'.join(map(str, versions[name]))}" for name in ("libavcodec", "libavformat")) + ")"
    missing = [codec for codec in CODECS if not _decodes(av, codec)]
    found = [Check("decoders", "ok", f"{build}: {', '.join(codec for codec in CODECS if codec not in missing)}")]
    for codec in missing:
        state: State = "fault" if codec == "h264" else "warning"
        remedy = "pip install --force-reinstall --only-binary av av"
        found.append(Check(f"decoder {codec}", state, f"none: {CODECS[codec]} can't be read", remedy))
    return found


def _decodes(av: ModuleType, codec: str) -> bool:
    if codec == "av1":
        return any(name in av.codecs_available for name in AV1_DECODERS)
    try:
        return bool(av.codec.Codec(codec, "r").is_decoder)
    except (ValueError, av.error.FFmpegError):
        return False
