"""What is doubtful about a data set: copies, conflicting labels, empty pictures, and what stands on two sides of a split.

Everything here is pure: `Faces` in, tables out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import dctn

from fer.data.faces import IDENTITIES, Faces, identity
from fer.data.fer2013 import USAGES
from fer.data.images import fit
from fer.emotions import EMOTIONS

DISTANCE = 4
"""Bits of 64 in which the perceptual hashes of near-identical pictures may differ. Of FER2013's pairs looked at, those up
to 4 show one photograph, a few at 6 and about half at 8 do not."""

SEEN_BY: tuple[str, ...] = ("source", "subject", "sequence", "digest")
"""Columns of `Faces.table` that tell whether a face was seen."""

_DARK, _FLAT = 20, 10
_BLOCK = 4096


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        summary: A row per check with `check`, `groups` (how many sets of faces belong together), `affected` (number of
            faces that `meaning` speaks of) and `meaning`. What stands on two sides is checked where it can be known:
            FER2013 does not name its people.
        findings: A row per concerned face and check with `check`, `group` (number within the check) and the face's
            `source`, `file`, `emotion` (name), `subject`, `usage`, `part` ("train", "val", "test" or "") and `row`.
    """

    summary: pd.DataFrame
    findings: pd.DataFrame


def audit(faces: Faces, parts: dict[str, NDArray[np.int64]] | None = None, distance: int = DISTANCE) -> Audit:
    """Looks for everything that makes results on these faces doubtful.

    Args:
        faces: What to look at.
        parts: Rows of the "train", "val" and "test" part, for what stands on two sides; None leaves that out.
        distance: Bits in which the hashes of near-identical pictures may differ, 0..63.
    """
    table = faces.table.assign(part="")
    for part, rows in (parts or {}).items():
        table.iloc[rows, table.columns.get_loc("part")] = part  # type: ignore[index]
    keys = {kind: identity(table, kind) for kind in IDENTITIES}
    digest = keys["image"]
    constant, empty = _empty(faces.images)
    identical, near = _groups(digest), _near_groups(faces.images, digest, constant | empty, distance)
    copies = int((identical >= 0).sum()) - len(np.unique(identical[identical >= 0]))
    checks = [
        _check("identical", identical, "redundant copies: all but one of each group of byte-identical pictures", copies),
        _check("identical, labels differ", _conflicting(identical, faces.emotion), "copies of one picture under several emotions"),
        _check("near-identical", near, f"pictures whose 64-bit perceptual hashes (pHash) differ in {distance} bits or fewer"),
        _check("near-identical, labels differ", _conflicting(near, faces.emotion), "near-identical ones under several emotions"),
        _check("constant", _each(constant), "pictures whose pixels all have one value"),
        _check("nearly empty", _each(empty), f"95 % of pixels below {_DARK} of 255, or 90 % of them within {_FLAT}"),
    ]
    sides = [("usage", pair, ["image"]) for pair in combinations(USAGES, 2) if set(pair) <= set(table["usage"])]
    sides += [("part", pair, [kind for kind in keys if (keys[kind] >= 0).any()]) for pair in combinations(parts or {}, 2)]
    for column, (one, other), kinds in sides:
        for kind in kinds:
            groups = _shared(keys[kind], table[column], one, other)
            of_other = np.where(table[column] == other, groups, -1)
            meaning = f"faces of {other} whose {kind} stands in {one} too"
            checks.append(_check(f"{other} in {one}: {kind}", groups, meaning, int((of_other >= 0).sum())))
    return Audit(
        pd.DataFrame([check[:-1] for check in checks], columns=["check", "groups", "affected", "meaning"]),
        pd.concat([_rows(table, check[0], check[-1]) for check in checks], ignore_index=True),
    )


_Check = tuple[str, int, int, str, NDArray[np.int64]]


def _check(name: str, groups: NDArray[np.int64], meaning: str, affected: int | None = None) -> _Check:
    """Makes a row of the summary, with the group of each face (-1: none) at its end."""
    concerned = groups[groups >= 0]
    return name, len(np.unique(concerned)), len(concerned) if affected is None else affected, meaning, groups


def seen(training: pd.DataFrame, tested: pd.DataFrame) -> NDArray[np.str_]:
    """Says what of each test face training has seen.

    Args:
        training: Rows of `Faces.table` that training or the choice of weights has seen (the columns `SEEN_BY`).
        tested: Rows to look at, N of them.

    Returns:
        The gravest of "image" (an identical one), "sequence" and "person", or "" for a clean face, str (N,).
    """
    both = pd.concat([training[list(SEEN_BY)], tested[list(SEEN_BY)]], ignore_index=True)
    result = np.full(len(tested), "", dtype="<U8")
    for kind in reversed(IDENTITIES):
        keys = identity(both, kind)
        known, asked = keys[: len(training)], keys[len(training) :]
        result[(asked >= 0) & np.isin(asked, known)] = kind
    return result


def _groups(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keeps the numbers that occur more than once, the others become -1."""
    sizes = np.bincount(numbers[numbers >= 0], minlength=1)
    return np.where((numbers >= 0) & (sizes[numbers] > 1), numbers, -1)


def _each(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A group of its own for each marked row."""
    return np.where(mask, np.arange(len(mask)), -1)


def _conflicting(groups: NDArray[np.int64], emotion: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keeps the groups whose faces have different classes."""
    kinds = pd.Series(emotion).groupby(groups).nunique()
    return np.where(np.isin(groups, kinds.index[kinds > 1].to_numpy()), groups, -1)


def _shared(keys: NDArray[np.int64], side: pd.Series, one: str, other: str) -> NDArray[np.int64]:
    """Groups the faces of side `other` whose key stands on side `one` too, with those they share it with."""
    here, there = (side == one).to_numpy(), (side == other).to_numpy()
    both = np.intersect1d(keys[here], keys[there])
    return np.where((here | there) & np.isin(keys, both[both >= 0]), keys, -1)


def _rows(table: pd.DataFrame, check: str, groups: NDArray[np.int64]) -> pd.DataFrame:
    rows = np.flatnonzero(groups >= 0)
    found = table.iloc[rows][["source", "file", "emotion", "subject", "usage", "part"]]
    found = found.assign(emotion=np.array(EMOTIONS)[found["emotion"]], row=rows)
    found.insert(0, "group", pd.factorize(groups[rows])[0])
    found.insert(0, "check", check)
    return found.sort_values(["group", "row"])


def _blocks(images: NDArray[np.uint8]) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    for start in range(0, len(images), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield part, np.asarray(images[part])


def _empty(images: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which pictures have one value only, and which of the others are nearly black or nearly flat; bool (N,) each."""
    constant, empty = np.zeros(len(images), bool), np.zeros(len(images), bool)
    for part, block in _blocks(images):
        flat = block.reshape(len(block), -1)
        low, high = np.quantile(flat, (0.05, 0.95), axis=1, method="nearest").astype(int)
        constant[part] = flat.min(1) == flat.max(1)
        empty[part] = ((high < _DARK) | (high - low < _FLAT)) & ~constant[part]
    return constant, empty


def perceptual_hash(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Computes the 64-bit perceptual hash (pHash) of pictures: it hardly changes when they are scaled or recompressed.

    A picture is brought to 32x32 grey; of its cosine transform the 8x8 lowest frequencies are compared with their
    median (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010).

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).

    Returns:
        uint64 (N,), the frequency (0, 0) in the highest bit.
    """
    hashes = np.empty(len(images), np.uint64)
    for part, block in _blocks(images):
        small = np.stack([fit(image, 32, 1) for image in block]).astype(np.float64)
        low = dctn(small, axes=(1, 2))[:, :8, :8].reshape(len(block), 64)
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        hashes[part] = bits.view(">u8").ravel()
    return hashes


def _near_groups(
    images: NDArray[np.uint8], digest: NDArray[np.int64], empty: NDArray[np.bool_], distance: int
) -> NDArray[np.int64]:
    """Groups each picture with those whose hashes are near its own, empty ones aside.

    The pictures with most neighbours come first and take theirs, so that all of a group are near its first picture;
    chains of neighbours would join faces that have nothing in common.
    """
    first = np.unique(digest, return_index=True)[1]
    first = first[~empty[first]]
    # Pictures of one hash have the same neighbours: they are one node, which stands where the first of them stood.
    hashes, where, node, alike = np.unique(
        perceptual_hash(images)[first], return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(where, kind="stable")
    place = np.argsort(order, kind="stable")
    hashes, alike, node = hashes[order], alike[order], place[node]
    pairs = near_pairs(hashes, distance)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(len(hashes) + 1))
    neighbours = alike - 1 + np.bincount(both[:, 0], weights=alike[both[:, 1]], minlength=len(hashes)).astype(np.int64)
    groups = np.full(len(hashes), -1)
    for centre in np.argsort(-neighbours, kind="stable"):
        if not neighbours[centre]:
            break
        near = both[starts[centre] : starts[centre + 1], 1]
        free = near[groups[near] < 0]
        if groups[centre] < 0 and (len(free) or alike[centre] > 1):
            groups[centre] = groups[free] = centre
    of_digest = np.full(digest.max(initial=-1) + 1, -1)
    of_digest[digest[first]] = groups[node]
    return of_digest[digest]


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """Finds all pairs of hashes that differ in few bits.

    The hashes are cut into distance + k bands: of two that differ in `distance` bits or fewer, k bands at least are
    equal, so that only hashes that share some k bands are compared. k grows with the number of hashes, so that few
    share them by chance and the time grows with the number, not with its square.

    Args:
        hashes: uint64 (N,).
        distance: Largest number of differing bits, 0..63.

    Returns:
        Pairs of positions, int64 (M, 2), the lower one first, sorted.
    """

    def work(equal: int) -> float:  # sorting once for each choice of bands, and comparing what shares them by chance
        return comb(distance + equal, equal) * (20 + len(hashes) / 2 ** (64 * equal / (distance + equal)))

    equal = min(range(1, 65 - distance), key=work)
    edges = np.linspace(0, 64, distance + equal + 1).astype(int)
    bands = [((1 << int(high - low)) - 1) << int(low) for low, high in pairwise(edges)]
    found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
    for chosen in combinations(bands, equal):
        shared = hashes & np.uint64(sum(chosen))
        order = np.argsort(shared, kind="stable")
        shared, ordered = shared[order], hashes[order]
        places = np.arange(len(hashes) - 1)  # positions in the order that share their bands with the one `step` further on
        for step in range(1, len(hashes)):
            places = places[: np.searchsorted(places, len(hashes) - step)]
            places = places[shared[places] == shared[places + step]]
            if not len(places):
                break
            near = places[np.bitwise_count(ordered[places] ^ ordered[places + step]) <= distance]
            found.append(np.sort(np.stack([order[near], order[near + step]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)
