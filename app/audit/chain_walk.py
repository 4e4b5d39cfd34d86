"""Walking a tenant's commits from the first: positions, times, digests, the head, and heads that were published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from app.audit.findings import Finding, Rule
from app.audit.heads import SignedHead
from domain import instant
from domain.chain import GENESIS, Commit, digest_of
from domain.instant import EPOCH
from domain.tree import Frontier, commit_leaf
from projections.log_reader import Head
from projections.log_source import CommitKind


class Walk:
    """One walk. ``heads`` are the tenant's published ones, in the order of their positions."""

    def __init__(self, heads: Sequence[SignedHead] = ()) -> None:
        self.position = 0
        self.digest = GENESIS
        self.recorded_at: datetime = EPOCH
        self.events: Counter[str] = Counter()
        self.compared = 0
        self.tree = Frontier()
        self._heads = list(reversed(heads))
        self._agreed = 0

    def follow(self, commit: Commit) -> Finding | None:
        """Take the next commit in, or say why it does not fit; the walk ends there."""
        finding = self._misfit(commit)
        if finding is not None:
            return finding
        self.position, self.digest, self.recorded_at = commit.last_position, commit.digest, commit.recorded_at
        self.events[commit.kind] += commit.last_position - commit.first_position + 1
        self.tree.append(commit_leaf(commit.digest))
        while self._heads and self._heads[-1].position <= self.position:
            finding = self._differs(self._heads.pop())
            if finding is not None:
                return finding
        return None

    def end(self, head: Head) -> Finding | None:
        """After the last commit: does the log end where its head says, and does it reach the last published one?"""
        if (head.position, head.digest, head.recorded_at) != (self.position, self.digest, self.recorded_at):
            return Finding(
                rule=Rule.head,
                message="the log does not end where its head says: its last commits are gone, or the head was changed",
                first_position=min(self.position, head.position) + (self.position != head.position),
                last_position=max(self.position, head.position),
                expected=_end_text(head.position, head.digest, head.recorded_at),
                found=_end_text(self.position, self.digest, self.recorded_at),
            )
        if self._heads:
            lost = self._heads[0]
            return Finding(
                rule=Rule.truncated,
                message=f"the end of the log is gone: a head was published at position {lost.position:,} on"
                f" {instant.moment(lost.published_at)}, and the log ends at {self.position:,}",
                first_position=self.position + 1,
                last_position=lost.position,
                expected=f"position {lost.position:,}, digest {lost.digest}",
                found=f"position {self.position:,}, digest {self.digest.hex()}",
            )
        return None

    def _misfit(self, commit: Commit) -> Finding | None:
        def misfit(rule: Rule, message: str, expected: object, found: object) -> Finding:
            return Finding(
                rule=rule,
                message=message,
                first_position=commit.first_position,
                last_position=commit.last_position,
                expected=str(expected),
                found=str(found),
            )

        if commit.first_position != self.position + 1 or commit.last_position < commit.first_position:
            missing = commit.first_position > self.position + 1
            return misfit(
                Rule.positions,
                f"the commit does not follow the one before it, which ends at position {self.position:,}"
                + (": what stood between them is gone" if missing else ""),
                f"a commit that begins at position {self.position + 1:,}",
                f"one from {commit.first_position:,} to {commit.last_position:,}",
            )
        if commit.kind not in list(CommitKind):
            return misfit(Rule.kind, "the commit is of no kind that there is", ", ".join(CommitKind), commit.kind)
        if commit.recorded_at < self.recorded_at:
            return misfit(
                Rule.time,
                "the commit says that it was recorded before the one in front of it",
                f"{instant.moment(self.recorded_at)} or later",
                instant.moment(commit.recorded_at),
            )
        digest = digest_of(self.digest, commit)
        if digest != commit.digest:
            return misfit(
                Rule.digest,
                "the commit's digest does not follow from the digest before it and from what the commit says: its kind,"
                " positions, time, root or origin was changed, or the chain up to here was",
                digest.hex(),
                commit.digest.hex(),
            )
        return None

    def _differs(self, head: SignedHead) -> Finding | None:
        """Why what was published is not what is here; the walk has just passed its position."""
        if head.position == self.position:
            here = (self.digest.hex(), self.tree.size, self.tree.root().hex(), self.recorded_at)
            if here == (head.digest, head.commits, head.tree, head.recorded_at):
                self._agreed = self.position
                self.compared += 1
                return None
        return Finding(
            rule=Rule.published,
            message="history was rewritten: the chain fits itself, but it is not the one whose head was published on"
            f" {instant.moment(head.published_at)}; a commit up to there is another one",
            first_position=self._agreed + 1,
            last_position=head.position,
            expected=f"position {head.position:,}, commit {head.commits:,}, digest {head.digest}, tree {head.tree}",
            found=f"position {self.position:,}, commit {self.tree.size:,}, digest {self.digest.hex()},"
            f" tree {self.tree.root().hex()}",
        )


def _end_text(position: int, digest: bytes, recorded_at: datetime) -> str:
    return f"position {position:,}, digest {digest.hex()}, {instant.moment(recorded_at)}"
