"""What of an inspection asks for a decision before anything is extracted, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from shlex import quote
from typing import TYPE_CHECKING

from cache.columns.column_names import USUAL_NAMES, usual_columns
from cache.columns.label_hints import alike_in_words, choice_sentence, several_sentence
from cache.columns.label_levels import levels_sentence
from cache.shares import percent
from embed.amounts import plural
from embed.catalogue.columns import shortened_hint
from embed.catalogue.pictures.missing_pictures import EXPLAINED
from embed.contents.statuses import ABSENT, FORMATS_IN_WORDS, OK
from embed.inspection.duplicate_counter import Repeats
from embed.inspection.label_profile import MIN_ROWS, LabelProfile
from embed.inspection.picture_profile import PictureProfile

if TYPE_CHECKING:
    from embed.inspection.inspect_catalogue import Inspection

__all__ = ["Finding", "list_findings", "list_repeats"]

N_NAMED = 4
MAJORITY = 0.9
MANY_ABSENT = 0.1  # of the rows, from which on those without a picture or a text are told
ALL_DIFFER = 1.1  # rows a class on average, up to which a column is no label


@dataclass(frozen=True)
class Finding:
    """One sentence; `is_bad` where extraction would refuse or lose something, or training would be misled."""

    text: str
    is_bad: bool = False


def list_findings(inspection: Inspection) -> list[Finding]:
    """Return what asks for a decision, the bad things first."""
    findings = chain(_of_rows(inspection), _of_label(inspection), _of_contents(inspection), _of_columns(inspection))
    return sorted(findings, key=lambda finding: not finding.is_bad)


def list_repeats(inspection: Inspection) -> list[tuple[str, Repeats]]:
    """Return the exact copies of each kind, under what was compared."""
    kinds = [
        (f"rows{_but(inspection)}", inspection.repeated_rows),
        ("ids", inspection.repeated_ids),
        ("texts", inspection.text.repeats if inspection.text is not None else None),
        ("pictures", inspection.pictures.repeats if inspection.pictures is not None else None),
    ]
    return [(kind, repeats) for kind, repeats in kinds if repeats is not None]


def _but(inspection: Inspection) -> str:
    """Return in words which columns are no part of a row that is compared with others."""
    names = {"id": "the id", "image": "the picture"}
    left_out = " and ".join(names[role] for role in inspection.not_in_rows)
    return f", but for {left_out}" if left_out else ""


def _of_rows(inspection: Inspection) -> Iterator[Finding]:
    if inspection.n_bad_lines:
        yield Finding(
            f"{plural(inspection.n_bad_lines, inspection.bad_unit)} could not be read: "
            f"{'; '.join(inspection.bad_lines[:2])}.",
            is_bad=True,
        )
    ids = inspection.repeated_ids
    if ids is not None and ids.n_surplus:
        shown = ", ".join(f"{repeat.example!r} {repeat.n_rows} times" for repeat in ids.largest[:2])
        yield Finding(
            f"{plural(ids.n_surplus, 'repeated id')} ({shown}): extraction refuses such a catalogue. Remove what is "
            f"too much, or name another column with --id-column.{shortened_hint(ids.largest[0].example)}",
            is_bad=True,
        )
    if n := inspection.repeated_rows.n_surplus:
        apart = " Pictures inside other files are compared apart." if "image" in inspection.not_in_rows else ""
        yield Finding(
            f"{plural(n, 'copy', 'copies')} of an earlier row, the same in every column{_but(inspection)}.{apart}"
        )
    yield from _of_products(inspection)
    for role, contents, other_role in (("image", "pictures", "text"), ("text", "texts", "image")):
        if role not in inspection.roles:
            has_other = other_role in inspection.roles
            without = f", --modalities {other_role} of embed-extract does without" if has_other else ""
            texts = [column.name for column in inspection.columns if not column.role and column.kind == "text"]
            candidates = f" {_names(texts)} may be one." if role == "text" and texts else ""
            yield Finding(
                f"No column of {contents} was found by its name: --{role}-column names it{without}.{candidates}"
            )


def _of_products(inspection: Inspection) -> Iterator[Finding]:
    """Say which column names products of several rows; of several such columns the likeliest has the figures."""
    if not inspection.group_columns:
        return
    likeliest, *rivals = inspection.group_columns
    also = f" {_names([rival.column for rival in rivals])} may do so, too." if rivals else ""
    sentence = likeliest.sentence(inspection.roles.get("label"))
    yield Finding(f"{sentence}; pass --group-column {quote(likeliest.column)} to heads-train.{also}", is_bad=True)


def _of_label(inspection: Inspection) -> Iterator[Finding]:
    column = inspection.roles.get("label")
    if column is None:
        names = USUAL_NAMES["label"][:N_NAMED]
        likely = [
            profile.name
            for profile in inspection.columns
            if not profile.role and profile.kind in ("categorical", "boolean") and profile.n_distinct > 1
        ]
        candidates = f" {_names(likely)} may be one." if likely else ""
        yield Finding(f"No column is called {', '.join(names)} or the like: --label names the label.{candidates}")
        return
    if inspection.settings.label is None:
        n_filled = {profile.name: profile.n_rows - profile.n_empty for profile in inspection.columns}
        usual = {name: n_filled[name] for name in usual_columns("label", n_filled)}
        if sentence := choice_sentence(column, usual):
            yield Finding(sentence)
    if inspection.label is None:
        n_distinct = next(profile.n_distinct for profile in inspection.columns if profile.name == column)
        yield Finding(
            f"{column} has more than {n_distinct:,} values, so it is no label: --label names one.", is_bad=True
        )
        return
    yield from _of_classes(inspection.label)
    if inspection.label.n_classes > 1:
        yield from _of_associations(inspection, column)


def _of_classes(label: LabelProfile) -> Iterator[Finding]:
    column = label.column
    if label.n_classes < 2:
        yield Finding(
            f"{column} has {plural(label.n_classes, 'class', 'classes')}: nothing can be learnt.", is_bad=True
        )
        return
    if label.n_classes - label.n_rare < 2:
        rows = f"{MIN_ROWS} rows or more"
        yield Finding(
            f"{plural(label.n_classes - label.n_rare, 'class', 'classes')} of {column} with {rows}, and training "
            "needs two: "
            + (
                "nearly every value is another, as an id's or an amount's; --label names another column."
                if label.n_labelled <= ALL_DIFFER * label.n_classes
                else "lower --min-rows, or name another column with --label."
            ),
            is_bad=True,
        )
    if sentence := levels_sentence(column, label.classes):
        yield Finding(sentence.replace("--label-level 1", "--label-level 1 of heads-train"))
    elif sentence := several_sentence(column, dict(label.classes)):
        yield Finding(sentence)
    if label.n_unlabelled:
        yield Finding(f"{plural(label.n_unlabelled, 'row')} without {column}, which training leaves out.")
    if label.n_rare and label.n_rare < label.n_classes:
        yield Finding(
            f"{plural(label.n_rare, 'class', 'classes')} of {column} with fewer than {MIN_ROWS} rows "
            f"({plural(label.n_rare_rows, 'row')} in all), which training leaves out, unless --min-rows is lower."
        )
    if label.majority_share >= MAJORITY:
        yield Finding(
            f"{percent(label.majority_share)} % of the rows are {label.classes[0][0]!r}: accuracy says little here."
        )


def _of_associations(inspection: Inspection, column: str) -> Iterator[Finding]:
    """Say which columns give the label, which is `column`, away, or follow from it; but for those of groups."""
    groups = {group.column for group in inspection.group_columns}
    associations = inspection.associations
    if leaks := [other.column for other in associations if other.is_leak and other.column not in groups]:
        verb = "gives" if len(leaks) == 1 else "give"
        yield Finding(
            f"{_names(leaks)} {verb} {column} away: the other rows of a value tell the label. As an input of a head "
            "that would be cheating, unless new products come with it.",
            is_bad=True,
        )
    for near_leak in inspection.near_leaks:
        if not groups.intersection(near_leak.columns):
            yield Finding(near_leak.sentence(column))
    if parents := [other.column for other in associations if other.follows and not other.is_leak]:
        verb = "follows" if len(parents) == 1 else "follow"
        yield Finding(f"{_names(parents)} {verb} from {column}, as a coarser name for it does.")


def _of_contents(inspection: Inspection) -> Iterator[Finding]:
    text, pictures = inspection.text, inspection.pictures
    for profile, content in ((pictures, "picture"), (text, "text")):
        if profile is None or not (n_absent := profile.statuses.get(ABSENT, 0)):
            continue
        n_rows = sum(profile.statuses.values())
        if n_absent >= MANY_ABSENT * n_rows:
            yield Finding(f"{n_absent:,} of {plural(n_rows, 'row')} name no {content}: heads do without it there.")
    if pictures is not None:
        yield from _of_pictures(pictures)
    if text is None:
        return
    if text.n_cut:
        yield Finding(
            f"{percent(text.n_cut / text.n_measured)} % of the texts are longer than --max-length {text.max_length}: "
            f"{percent(text.tokens_cut_share)} % of all tokens would be cut off."
        )
    if n := text.statuses.get("not_unicode", 0):
        yield Finding(f"{plural(n, 'text')} without a vector, for not being Unicode: --encoding may help.", is_bad=True)
    if text.repeats.n_surplus:
        yield Finding(
            f"{plural(text.repeats.n_surplus, 'copy', 'copies')} of an earlier product's text: each is encoded once, "
            "and a split keeps such products on one side."
        )
    if text.n_alike:
        yield Finding(
            f"{plural(text.n_alike, 'further text')} of an earlier product but for letter case and HTML: training "
            "takes for copies those that differ in letter case and entities alone, or have one vector."
        )
    if text.n_html:
        yield Finding(
            f"{plural(text.n_html, 'text')} with HTML tags or entities, such as {_shortened(text.html_example)!r}: "
            "--clean-text takes them out."
        )


def _remedy_without_any(pictures: PictureProfile) -> str:
    """Return in a sentence what to do where not one picture can be read."""
    if pictures.statuses.get("url") == pictures.n_bad:
        return " Nothing is fetched: where you do, they are found below the catalogue's folder by their last names."
    if pictures.statuses.get("not_an_image") == pictures.n_bad:
        return f" The files are there: convert them to {FORMATS_IN_WORDS}."
    is_elsewhere = any(pictures.statuses.get(status) for status in EXPLAINED)
    return " Name their folder with --image-root." if is_elsewhere else ""


def _of_pictures(pictures: PictureProfile) -> Iterator[Finding]:
    n_named = pictures.n_looked_at - pictures.statuses.get(ABSENT, 0)
    if pictures.n_bad:
        kinds = ", ".join(
            f"{n:,} {status}" for status, n in sorted(pictures.statuses.items()) if status not in (OK, ABSENT)
        )
        yield Finding(
            f"{pictures.n_bad:,} of {plural(n_named, 'picture')} would get no vector: {kinds}."
            + (" " + pictures.explanation if pictures.explanation else "")
            + (" --allow-outside reads those outside, too." if "outside" in pictures.statuses else "")
            + (_remedy_without_any(pictures) if pictures.n_bad == n_named and not pictures.explanation else ""),
            is_bad=True,
        )
    if pictures.n_looked_at < pictures.n_rows:
        yield Finding(
            f"Pictures: a sample of {pictures.n_looked_at:,} of {pictures.n_rows:,} rows was looked at "
            "(--most-pictures), so copies outside of it are not seen."
        )
    if pictures.repeats.n_surplus:
        yield Finding(f"{plural(pictures.repeats.n_surplus, 'copy', 'copies')} of an earlier product's picture.")
    if pictures.n_alike:
        yield Finding(
            f"{plural(pictures.n_alike, 'further picture file')} with the pixels of another: encoders give both the "
            "same vector, and a split keeps such products on one side."
        )
    elif pictures.n_alike is None:
        yield Finding("Pictures of one size are too many to compare pixel by pixel: --deep does.")


def _of_columns(inspection: Inspection) -> Iterator[Finding]:
    columns = inspection.columns
    for column in columns:
        if column.n_variants:
            shown = alike_in_words([[value for value, _ in group] for group in column.variants])
            yield Finding(
                f"{column.name}: {plural(column.n_variants, 'group')} of values that differ in case, blanks or signs "
                f"that look alike alone, or are one number ({shown}).",
                is_bad=column.role == "label",
            )
    for attribute, slip, is_bad in (
        ("n_not_unicode", "Cells that are not Unicode", True),
        ("n_mojibake", "Cells that look as if read in a wrong encoding", True),
        ("n_missing_words", "Words such as NaN or null, which count as text", False),
        ("n_padded", "Cells with blanks before or after", False),
    ):
        counts = {column.name: getattr(column, attribute) for column in columns}
        if shown_counts := [f"{name} ({count:,})" for name, count in counts.items() if count]:
            yield Finding(f"{slip}: {_names(shown_counts)}.", is_bad=is_bad)
    if empty := [column.name for column in columns if column.kind == "empty"]:
        yield Finding(f"Columns without any value: {_names(empty)}.")


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _names(names: list[str]) -> str:
    """Return the first few names with commas, and how many more there are."""
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
